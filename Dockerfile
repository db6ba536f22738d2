# The program as a container image: `make image`, or `docker build .`
#
# The first stage compiles with what tools/setup gets from the package registries, the second has
# the program, its libraries, the ONNX Runtime and a model: no compiler, no shell scripts of ours. It
# runs as a user without rights, and needs to write below /data and /tmp only, so it can be started
# with a read-only root. There is no init in it: the program reaps what it starts itself.

FROM debian:bookworm-slim AS build
WORKDIR /src
COPY tools/setup tools/convert-centernet.mjs tools/
COPY tools/setup.d tools/setup.d
RUN apt-get update && tools/setup build && tools/setup model
COPY . .
RUN meson setup build --prefix=/usr --libdir=lib --buildtype=debugoptimized \
    && ninja -C build installed \
    && meson install -C build --no-rebuild --destdir /image \
    && strip --strip-debug /image/usr/bin/snapshotd \
    && rm -r /image/usr/lib/systemd /image/usr/lib/sysusers.d /image/usr/lib/tmpfiles.d

FROM debian:bookworm-slim
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates fonts-dejavu-core libcairo2 \
        libcrypt1 libcurl4 libexpat1 libgif7 libinih1 libjansson4 libjpeg62-turbo libmicrohttpd12 \
        libmpack0 libpng16-16 librabbitmq4 libseccomp2 libsqlite3-0 libssl3 libstdc++6 libsystemd0 \
        libwebp7 libzmq5 tzdata \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --system --gid 999 snapshotd \
    && useradd --system --uid 999 --gid 999 --home-dir /data --shell /usr/sbin/nologin snapshotd \
    && install -d -o snapshotd -g snapshotd -m 0700 /data
COPY --from=build /image /
COPY packaging/docker/snapshot-processor.conf /etc/snapshot-processor/snapshot-processor.conf
RUN chmod 755 /etc/snapshot-processor && chmod 644 /etc/snapshot-processor/snapshot-processor.conf
USER 999:999
WORKDIR /data
VOLUME /data
EXPOSE 21 50000-50049
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=10s --start-period=120s CMD ["snapshotd", "status"]
ENTRYPOINT ["snapshotd"]
CMD ["run"]
