#!/bin/sh
# Creates the virtual environment if there is none, and installs one list of exact versions into it: only files whose
# hash stands in the list. PyTorch's list has none (see there), and brings no other package along.
# Usage: install.sh PYTHON VENV REQUIREMENTS
python=$1 venv=$2 requirements=$3

stop() {
    echo "$1" >&2
    exit 1
}

command -v "$python" >/dev/null 2>&1 || stop "There is no $python here. Install Python 3.11 or newer, or name one: make run PYTHON=/path/to/python3."
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || stop "$python is older than Python 3.11. Install a newer one, or name one: make run PYTHON=/path/to/python3."
"$python" -c 'import venv, ensurepip' 2>/dev/null || stop "$python has no venv. On Debian and Ubuntu: apt install python3-venv."
if [ ! -x "$venv/bin/python" ]; then
    "$python" -m venv "$venv" || stop "The virtual environment $venv could not be created; the lines above say why."
fi
echo "Installing $requirements (a minute the first time) ..."
case $requirements in *torch*) how=--no-deps ;; *) how=--require-hashes ;; esac
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check "$how" -r "$requirements" ||
    stop "Not everything in $requirements could be installed; the lines above say why."
