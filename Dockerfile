# syntax=docker/dockerfile:1
ARG PYTHON_VERSION=3.13

FROM python:${PYTHON_VERSION}-slim AS build
WORKDIR /app
COPY pyproject.toml poetry.lock poetry.toml ./
COPY scripts scripts
# Poetry itself stays in the cache. A package index of your own: --secret id=pip,src=pip.conf
RUN --mount=type=cache,target=/app/.cache \
    --mount=type=secret,id=pip,target=/etc/pip.conf \
    sh scripts/bootstrap install --compile
COPY . .
# Compiled now, because the container may be read-only; readable, whatever the checkout's modes.
RUN .venv/bin/python -m compileall -q -x '/\.(venv|cache)/' . \
    && chmod -R a+rX .

FROM python:${PYTHON_VERSION}-slim
LABEL org.opencontainers.image.title="claude-code-openai-server" \
      org.opencontainers.image.description="Claude Code for every OpenAI and Anthropic client" \
      org.opencontainers.image.licenses="MIT"

# An init, because commands of Claude Code's built-in tools may leave orphans behind; bubblewrap and
# socat for their sandbox. Debian keeps one version a release, so there is none to pin.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends bubblewrap socat tini \
    && rm -rf /var/lib/apt/lists/*

# Most people are user 1000 on their own computer, and so can hand in their login. Any other user
# (--user) may write the two folders as well, and may look into /root/.claude.
RUN groupadd --gid 1000 app \
    && useradd --uid 1000 --gid 1000 --create-home app \
    && install -d -m 1777 /data /home/app/.claude \
    && chmod 755 /home/app \
    && chmod 711 /root

COPY --from=build /app /app
WORKDIR /app
# Inside, every interface is the container's own. `docker stop` kills after ten seconds.
ENV PATH=/app/.venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HOST=0.0.0.0 \
    DATABASE_URL=sqlite+aiosqlite:////data/sessions.db \
    WORKSPACE_ROOT=/data/workspaces \
    SHUTDOWN_GRACE_SECONDS=7
USER 1000:1000
VOLUME ["/data"]
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s \
    CMD ["python", "-I", "/app/scripts/healthcheck.py"]
ENTRYPOINT ["tini", "-s", "--", "/app/scripts/entrypoint.sh"]
