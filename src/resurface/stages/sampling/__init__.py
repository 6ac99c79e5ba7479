"""Stage `sample`: draw documents from a model given its start token, or a prompt, alone.

reads   a model            writes   sample/<name>-<fp8>/corpus-00000.parquet ...
run     resurface sample smollm2-135m-instruct --tokens 20000

Sample i depends on (model, configuration, seed, i). Files are written whole, in order; a killed
run loses at most the files in progress, one per process, and continues behind the last that is there.

config.py    the options, and the blocks that a corpus is drawn in, a file each
drawing.py   documents out of an engine, and into files
blocks.py    a block as an artifact
corpus.py    a corpus by one program
shards.py    a corpus by several programs, and what puts it together
"""

from resurface.stages.sampling.config import SampleConfig, expected_tokens, of_another_model, options
from resurface.stages.sampling.corpus import sample
from resurface.stages.sampling.drawing import CorpusCounts, Source
from resurface.stages.sampling.shards import ShardDrawn, merge, missing, sample_shard

__all__ = [
    "CorpusCounts",
    "SampleConfig",
    "ShardDrawn",
    "Source",
    "expected_tokens",
    "merge",
    "missing",
    "of_another_model",
    "options",
    "sample",
    "sample_shard",
]
