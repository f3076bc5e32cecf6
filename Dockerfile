# syntax=docker/dockerfile:1
# The server in an image that holds nothing else: no shell, no package manager. It runs as uid 1000 and writes to /data only.
#
#   docker build -t openway .
#   docker run --rm -p 8001:8000 --read-only -v openway:/data openway

FROM --platform=$BUILDPLATFORM golang:1.26-bookworm AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN --mount=type=cache,target=/go/pkg/mod go mod download && go mod verify
COPY . .
ARG TARGETOS TARGETARCH VERSION=dev
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH go build -trimpath -ldflags="-s -w -X main.version=$VERSION" -o /out/openway ./cmd/openway
# What the empty image needs beside the binary: the user, the certificates that HTTPS clients (ACME, webhooks) check by, a place for data.
RUN mkdir -p /out/root/etc/ssl/certs /out/root/data /out/root/tmp \
    && echo 'app:x:1000:1000:OpenWay Access:/data:/sbin/nologin' >/out/root/etc/passwd \
    && echo 'app:x:1000:' >/out/root/etc/group \
    && cp /etc/ssl/certs/ca-certificates.crt /out/root/etc/ssl/certs/ \
    && chown 1000:1000 /out/root/data && chmod 700 /out/root/data && chmod 1777 /out/root/tmp

FROM scratch
COPY --from=build /out/root/ /
COPY --from=build /out/openway /openway
ENV OPENWAY_LISTEN=:8000 \
    OPENWAY_DATABASE=/data/openway.db \
    OPENWAY_LOG_FORMAT=json
USER 1000:1000
WORKDIR /data
VOLUME /data
EXPOSE 8000
# Liveness is asked of the process itself: no curl in here, and any ALLOWED_HOSTS will do.
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --retries=3 CMD ["/openway", "healthcheck"]
ENTRYPOINT ["/openway"]
CMD ["serve"]
