# Build: the wheel and what it needs, in an environment of its own. Compilers, if any are needed, stay here.
FROM python:3.12.8-slim-bookworm AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /source
COPY pyproject.toml README.md LICENSE beat_schedule.py ./
COPY config config
COPY converter converter
COPY workers workers
RUN python -m pip wheel --no-deps --wheel-dir /wheel . \
 && python -m venv /opt/converter \
 && /opt/converter/bin/pip install "$(echo /wheel/converter-*.whl)[postgres,otel]" \
 && /opt/converter/bin/pip uninstall --yes pip

FROM python:3.12.8-slim-bookworm
RUN groupadd --gid 10001 converter \
 && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /var/lib/converter --shell /usr/sbin/nologin converter \
 && install -d -o converter -g converter -m 0700 /var/lib/converter /run/settings /run/metrics
COPY --from=build /opt/converter /opt/converter
ENV PATH=/opt/converter/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 CONVERTER_HOME=/var/lib/converter
USER 10001:10001
WORKDIR /var/lib/converter
CMD ["converter", "--help"]
HEALTHCHECK --interval=30s --timeout=15s --start-period=60s --retries=3 CMD ["converter", "health", "--sweep"]
