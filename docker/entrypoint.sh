#!/bin/sh
# The compiled code of the image, copied to where this user may write; on another kind of processor it is compiled anew.
# Without a writable place the program still runs, so the copy may fail.
export NUMBA_CACHE_DIR="${NUMBA_CACHE_DIR}-$(id -u)" MPLCONFIGDIR="${MPLCONFIGDIR}-$(id -u)"
[ -e "$NUMBA_CACHE_DIR" ] || cp -r /opt/mrspec_prep/numba "$NUMBA_CACHE_DIR" 2>/dev/null || true
# the default work directory lies in the current folder, which a read-only container cannot offer
case "$1" in /*) [ -w . ] || cd /tmp ;; esac
exec mrspec_prep "$@"
