# Build:  docker build -t mrspec_prep .
#         --build-arg TORCH_INDEX=ADDRESS of an index with CPU builds of PyTorch keeps the image small (README, Installation)
# Run:    docker run --rm -v BIDS_DIR:/data:ro -v OUT_DIR:/out mrspec_prep /data /out participant
FROM docker.io/library/debian:bookworm-slim

RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates python3 python3-venv \
    && rm -rf /var/lib/apt/lists/*

ARG TORCH_INDEX
ENV PATH=/opt/venv/bin:$PATH
COPY . /src
RUN python3 -m venv /opt/venv \
    && pip install --no-cache-dir --disable-pip-version-check ${TORCH_INDEX:+--extra-index-url $TORCH_INDEX} \
        -c /src/constraints.txt "/src[hpc]"

# no home, no known user, no network and a read-only root must do: everything written by the way goes to /tmp
ENV NO_ET=1 \
    HOME=/tmp \
    LOGNAME=mrspec_prep \
    LC_ALL=C.UTF-8 \
    MPLBACKEND=Agg \
    MPLCONFIGDIR=/tmp/mrspec_prep-matplotlib \
    NUMBA_CACHE_DIR=/tmp/mrspec_prep-numba \
    OMP_NUM_THREADS=1 \
    PYTHONDONTWRITEBYTECODE=1

# one run of each example compiles the voxel loops into the image, lists its fonts and shows that it works
RUN for name in zebra_t2star-adc echotime-array t1-t2_mese; do \
        NUMBA_CACHE_DIR=/opt/mrspec_prep/numba MPLCONFIGDIR=/opt/mrspec_prep/matplotlib \
        mrspec_prep /src/bids_examples/$name /tmp/out/$name participant \
            --derivatives masks=/src/bids_examples/$name/derivatives/masks --sloppy -w /tmp/steps/$name || exit 1; \
    done \
    && rm -rf /tmp/* /src/bids_examples \
    && chmod -R a+rX /opt/mrspec_prep

RUN useradd --no-create-home --home-dir /tmp mrspec_prep && install -m 755 /src/docker/entrypoint.sh /usr/local/bin/entrypoint
USER mrspec_prep
WORKDIR /tmp
ENTRYPOINT ["/usr/local/bin/entrypoint"]
