# The program without Python or Rust: `docker run --rm -v "$PWD:/work:ro" golf-harness verify records/NAME`.
# For what reads files: verify, pack, score. `verify --base` needs git and `rerun` bubblewrap and torch; neither is here.
# Images are named by version; a release adds their digests, which only a registry can tell.
FROM rust:1.95.0-slim-bookworm AS build
WORKDIR /source
COPY . .
# `--build-arg GOLF_HARNESS_COMMIT=$(git rev-parse --short=12 HEAD)`, for what `--version` says.
ARG GOLF_HARNESS_COMMIT=unknown
RUN cargo build --locked --profile dist --bin golf-harness

FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /source/target/dist/golf-harness /usr/local/bin/golf-harness
COPY --from=build /source/LICENSE-MIT /source/LICENSE-APACHE /usr/share/doc/golf-harness/
USER 65532:65532
WORKDIR /work
ENTRYPOINT ["/usr/local/bin/golf-harness"]
CMD ["--help"]
