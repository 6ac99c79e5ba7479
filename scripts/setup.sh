# Sourced by the other scripts: makes the virtual environment $venv with `$1` installed from here.
# Again only if the packages asked for changed since, so a second call starts at once.
root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
cd "$root" || exit 1
venv=${RESURFACE_VENV:-$root/.venv}

find_python() {
    for candidate in ${PYTHON:-python3 python3.14 python3.13 python3.12 python3.11}; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    echo "resurface needs Python 3.11 or later; found: $("${PYTHON:-python3}" --version 2>&1 || echo none)" >&2
    echo "  -> install one, or name it: PYTHON=/path/to/python3.12 sh $0" >&2
    exit 2
}

set_up() {
    stamp="$venv/.resurface-$(printf %s "$1" | tr -c 'a-z\n' -)"
    want=$(cat pyproject.toml constraints.txt | cksum)
    if [ -x "$venv/bin/python" ] && [ "$(cat "$stamp" 2>/dev/null)" = "$want" ]; then
        return
    fi
    if [ ! -x "$venv/bin/python" ]; then
        python=$(find_python) || exit 2
        echo "making $venv" >&2
        "$python" -m venv "$venv" || {
            echo "  -> on Debian and Ubuntu: apt install python3-venv" >&2
            exit 2
        }
    fi
    echo "installing into $venv (the first time 1 to 5 GB, mostly torch)" >&2
    "$venv/bin/python" -m pip install --disable-pip-version-check --progress-bar on \
        -c constraints.txt -e "$1" >&2 || {
        echo "  -> pip could not install: see above; your site's package index goes into PIP_INDEX_URL" >&2
        exit 1
    }
    echo "$want" >"$stamp"
}
