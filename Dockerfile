# Millrace in a container: one binary, one image for every role.
#
#   docker build -t millrace .
#   docker run --rm millrace help

FROM rust:1.95-bookworm AS build
RUN apt-get update && apt-get install -y --no-install-recommends cmake libssl-dev pkg-config && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/src/target \
    cargo build --release --locked --bin millrace && cp target/release/millrace /usr/local/bin/millrace

FROM debian:bookworm-slim
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates curl libssl3 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --home-dir /var/lib/millrace --create-home millrace \
    # A new volume takes the owner of the folder it covers.
    && install --directory --owner=millrace --mode=0700 /state /keys
COPY --from=build /usr/local/bin/millrace /usr/local/bin/millrace
USER millrace
WORKDIR /var/lib/millrace
STOPSIGNAL SIGTERM
ENTRYPOINT ["millrace"]
CMD ["help"]
