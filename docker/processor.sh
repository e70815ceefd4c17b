# Read by the build and by every run: compile for what all x86-64 processors since 2013 can do (AVX2), so that the loops
# compiled into the image serve on any of them. Others compile for themselves when first run.
if [ "$(uname -m)" = x86_64 ] && [ -z "$NUMBA_CPU_NAME" ]; then
    known=true
    for feature in avx2 bmi2 f16c fma movbe abm; do
        grep -qwm1 "$feature" /proc/cpuinfo || known=false
    done
    if $known; then export NUMBA_CPU_NAME=x86-64-v3 NUMBA_CPU_FEATURES=; fi
fi
