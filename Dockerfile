# One image for the API, the worker, the migration and, with the build argument EXTRAS=load, Locust.
FROM python:3.12-slim AS build
ARG EXTRAS=""
WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
COPY scaiqueue scaiqueue
COPY agents agents
COPY lua lua
RUN python -m venv /opt/scaiqueue \
    && /opt/scaiqueue/bin/pip install --no-cache-dir --upgrade "pip>=25.1" \
    && /opt/scaiqueue/bin/pip install --no-cache-dir . \
    && if [ -n "$EXTRAS" ]; then /opt/scaiqueue/bin/pip install --no-cache-dir --group "$EXTRAS"; fi

FROM python:3.12-slim
RUN groupadd --system --gid 10001 scaiqueue \
    && useradd --system --uid 10001 --gid scaiqueue --home-dir /var/lib/scaiqueue --create-home scaiqueue
COPY --from=build /opt/scaiqueue /opt/scaiqueue
ENV PATH=/opt/scaiqueue/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    SCAIQUEUE_HOST=0.0.0.0 \
    SCAIQUEUE_LOG_FORMAT=json \
    SCAIQUEUE_DATA_DIR=/var/lib/scaiqueue
USER scaiqueue
WORKDIR /var/lib/scaiqueue
EXPOSE 8080
STOPSIGNAL SIGTERM
ENTRYPOINT ["scaiqueue"]
CMD ["api"]
