# Build:  docker build -t mrspec_prep .
#         --build-arg TORCH_INDEX=ADDRESS of an index with CPU builds of PyTorch keeps the image small (README, Installation)
# Run:    docker run --rm -u $(id -u):$(id -g) -v BIDS_DIR:/data:ro -v OUT_DIR:/out mrspec_prep /data /out participant
FROM docker.io/library/debian:bookworm-slim AS build

RUN apt-get update \
    && apt-get install -y --no-install-recommends binutils ca-certificates python3 python3-venv \
    && rm -rf /var/lib/apt/lists/*

# the dependencies by themselves, so that a change of the program does not fetch them again
ARG TORCH_INDEX
ENV PATH=/opt/venv/bin:$PATH
COPY pyproject.toml constraints.txt /deps/
RUN python3 -m venv /opt/venv \
    && python -c "import tomllib; p = tomllib.load(open('/deps/pyproject.toml', 'rb'))['project']; \
print(*p['dependencies'], *p['optional-dependencies']['hpc'], sep='\n')" > /deps/requirements.txt \
    && pip install --no-cache-dir --no-compile --disable-pip-version-check \
        ${TORCH_INDEX:+--extra-index-url $TORCH_INDEX} -c /deps/constraints.txt -r /deps/requirements.txt
COPY . /src
RUN pip install --no-cache-dir --no-compile --disable-pip-version-check --no-deps "/src[hpc]"

# what a run never reads: tests of libraries, headers and tools for compiling with PyTorch, pip, names of inner functions
RUN cd /opt/venv/lib/python3.11/site-packages \
    && find . -type d \( -name tests -o -name test \) -prune -exec rm -rf {} + \
    && find torch/bin -type f ! -name torch_shm_manager -delete \
    && strip --strip-unneeded torch/lib/libtorch_cpu.so torch/lib/libtorch_python.so llvmlite/binding/libllvmlite.so \
    && rm -rf torch/include pip pip-*.dist-info /opt/venv/bin/pip* /opt/venv/lib64/python3.11/site-packages/pip

# Whole seconds survive every way of packing a layer; compiled loops are told from stale ones by the time of their source.
# Bytecode is not compared with its source at all: the root may be read-only.
RUN find /opt/venv -name '*.py' -exec touch -d 2026-01-01T00:00:00Z {} + \
    && python -m compileall -q -j 0 -x '/py312_[a-z]+\.py$' --invalidation-mode unchecked-hash \
        /opt/venv/lib/python3.11/site-packages

# the voxel loops, compiled, and the version of the program that they belong to
COPY docker/processor.sh docker/warm_up.sh /opt/mrspec_prep/
RUN NO_ET=1 LC_ALL=C.UTF-8 MPLBACKEND=Agg OMP_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE=1 \
        NUMBA_CACHE_DIR=/opt/mrspec_prep/numba MPLCONFIGDIR=/opt/mrspec_prep/matplotlib \
        sh /opt/mrspec_prep/warm_up.sh /src/bids_examples \
    && rm /opt/mrspec_prep/warm_up.sh \
    && (cd /opt/venv/lib/python3.11/site-packages && find mrspec_prep -name '*.py' | LC_ALL=C sort | xargs cat) \
        | cksum | cut -d' ' -f1 > /opt/mrspec_prep/version \
    && chmod -R a+rX /opt/mrspec_prep


FROM docker.io/library/debian:bookworm-slim

LABEL org.opencontainers.image.title=mrspec_prep \
      org.opencontainers.image.description="Spectra, tissue maps and parameter maps from multi-contrast microstructure MRI in BIDS" \
      org.opencontainers.image.licenses=BSD-3-Clause

RUN apt-get update \
    && apt-get install -y --no-install-recommends python3 \
    && apt-get clean \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --no-create-home --home-dir /tmp mrspec_prep

COPY --from=build /opt /opt
COPY docker/entrypoint.sh /usr/local/bin/entrypoint

# no home, no known user, no network and a read-only root must do: everything written by the way goes to /tmp
ENV PATH=/opt/venv/bin:$PATH \
    NO_ET=1 \
    HOME=/tmp \
    LOGNAME=mrspec_prep \
    LC_ALL=C.UTF-8 \
    MPLBACKEND=Agg \
    MPLCONFIGDIR=/tmp/mrspec_prep-matplotlib \
    NUMBA_CACHE_DIR=/tmp/mrspec_prep-numba \
    OMP_NUM_THREADS=1 \
    PYTHONDONTWRITEBYTECODE=1

USER mrspec_prep
WORKDIR /tmp
ENTRYPOINT ["/usr/local/bin/entrypoint"]
