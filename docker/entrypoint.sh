#!/bin/sh
# Compiled loops and the font list of the image, copied to where this user may write. Without a writable place the program
# still runs, so a copy may fail.
. /opt/mrspec_prep/processor.sh

# Says where a folder of the image ($1) may be written: copied to $2, whole or not at all, as another container that shares
# /tmp may begin at the same moment. What another user laid there is not used: it would be run.
brought() {
    if [ -O "$2" ]; then echo "$2"; return; fi
    copy=$(mktemp -d "$2.XXXXXX" 2>/dev/null) || { echo "$1"; return; }
    cp -r "$1/." "$copy" 2>/dev/null || { rm -rf "$copy"; echo "$1"; return; }
    if mv -T "$copy" "$2" 2>/dev/null; then echo "$2"
    elif [ -O "$2" ]; then rm -rf "$copy"; echo "$2"
    else echo "$copy"; fi
}

# one folder for each user and each version of the program, which may share /tmp, too
mine="$(cat /opt/mrspec_prep/version)-$(id -u)"
export NUMBA_CACHE_DIR="$NUMBA_CACHE_DIR-$mine" MPLCONFIGDIR="$MPLCONFIGDIR-$mine"
case "$1" in
-*) ;; # --help, --version: nothing is compiled or drawn
*)
    NUMBA_CACHE_DIR=$(brought /opt/mrspec_prep/numba "$NUMBA_CACHE_DIR")
    MPLCONFIGDIR=$(brought /opt/mrspec_prep/matplotlib "$MPLCONFIGDIR")
    ;;
esac
# the default work directory lies in the current folder, which a read-only container cannot offer
case "$1" in /*) [ -w . ] || cd /tmp ;; esac
exec mrspec_prep "$@"
