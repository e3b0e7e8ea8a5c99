# The portal in a container: `docker build -t mask-portal .` (docs/operating.md, "In containers").
FROM python:3.11-slim-bookworm AS build
WORKDIR /srv/mask-portal
COPY requirements.txt portal/server/install.sh ./
RUN sh install.sh python3 .venv requirements.txt && rm install.sh requirements.txt

FROM python:3.11-slim-bookworm
LABEL org.opencontainers.image.title="Mask portal" org.opencontainers.image.licenses="Apache-2.0"
RUN useradd --system --uid 10001 --home-dir /srv/mask-portal --shell /usr/sbin/nologin mask-portal \
    && install -d -m 700 -o mask-portal -g mask-portal /var/lib/mask-portal \
    && rm -rf /usr/local/lib/python3.11/site-packages/pip* /usr/local/bin/pip*
WORKDIR /srv/mask-portal
COPY --from=build /srv/mask-portal/.venv .venv
COPY LICENSE NOTICE manage.py pyproject.toml ./
COPY models models
COPY detection detection
COPY cameras cameras
COPY portal portal
ENV DATA_DIR=/var/lib/mask-portal BIND=0.0.0.0 DEMO=0 PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
USER 10001
VOLUME /var/lib/mask-portal
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=15s --timeout=5s --start-period=90s --retries=4 \
    CMD [".venv/bin/python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/healthz', timeout=4)"]
CMD [".venv/bin/python", "-m", "portal.server.run"]
