# One image for the service and for every node of its Ray cluster, so that versions cannot differ.
# For a release, pin the base by digest (python:3.11-slim@sha256:…): a tag may move.

FROM python:3.11-slim AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /source
# Every package is fetched by its hash; what follows installs from these files alone.
COPY constraints.txt ./
RUN pip download --quiet --require-hashes --only-binary :all: --requirement constraints.txt --dest /wheels
COPY . ./
# There is one version of each package among the wheels.
# hadolint ignore=DL3013
RUN pip install --quiet --upgrade --no-index --find-links /wheels setuptools \
 && pip wheel --quiet --no-index --no-deps --no-build-isolation --wheel-dir /wheels . \
 && python -m venv /opt/gradloom \
 && /opt/gradloom/bin/pip install --quiet --no-index --find-links /wheels "gradloom[all]"

FROM python:3.11-slim
LABEL org.opencontainers.image.title="Gradloom" \
      org.opencontainers.image.description="Training as a service, to the same bits on any number of workers" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="0.1.0"
RUN groupadd --gid 10001 gradloom \
 && useradd --uid 10001 --gid 10001 --create-home --home-dir /var/lib/gradloom gradloom
COPY --from=build /opt/gradloom /opt/gradloom
ENV PATH=/opt/gradloom/bin:$PATH HOME=/var/lib/gradloom PYTHONUNBUFFERED=1 \
    XDG_CACHE_HOME=/var/cache/gradloom
RUN install --directory --owner=10001 --group=10001 /var/cache/gradloom
USER 10001:10001
# No job waits for the compiler; a read-only container works on a copy below /tmp.
RUN gradloom warmup --quiet
WORKDIR /var/lib/gradloom
VOLUME /var/lib/gradloom
EXPOSE 50051 9464
# SIGTERM lets running jobs save their state; they go on when the service starts again.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
  CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:9464/healthz', timeout=3)"]
ENTRYPOINT ["gradloom"]
# Inside a container only what is published can be reached: publish on 127.0.0.1.
CMD ["serve", "--listen", "0.0.0.0:50051", "--http", "0.0.0.0:9464", "--i-accept-no-auth", "--data-dir", "/var/lib/gradloom", "--backend", "local"]
