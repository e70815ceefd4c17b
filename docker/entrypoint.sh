#!/bin/sh
# Compiled loops and the font list of the image, copied to where this user may write. Without a writable place the program
# still runs, so a copy may fail.
. /opt/mrspec_prep/processor.sh
export NUMBA_CACHE_DIR="${NUMBA_CACHE_DIR}-$(id -u)" MPLCONFIGDIR="${MPLCONFIGDIR}-$(id -u)"
case "$1" in
-*) ;; # --help, --version: nothing is compiled or drawn
*)
    [ -e "$NUMBA_CACHE_DIR" ] || cp -r /opt/mrspec_prep/numba "$NUMBA_CACHE_DIR" 2>/dev/null || true
    [ -e "$MPLCONFIGDIR" ] || cp -r /opt/mrspec_prep/matplotlib "$MPLCONFIGDIR" 2>/dev/null || true
    ;;
esac
# the default work directory lies in the current folder, which a read-only container cannot offer
case "$1" in /*) [ -w . ] || cd /tmp ;; esac
exec mrspec_prep "$@"
