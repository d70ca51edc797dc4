# Both stages stand on the official Node.js LTS image (Debian slim). A mirror: --build-arg NODE_IMAGE=…
ARG NODE_IMAGE=docker.io/library/node:24-bookworm-slim

FROM ${NODE_IMAGE} AS build
WORKDIR /build
COPY package.json package-lock.json ./
RUN npm ci --ignore-scripts --no-audit --no-fund
COPY tsconfig.json tsconfig.build.json ./
COPY src ./src
RUN npm run build

FROM ${NODE_IMAGE} AS modules
WORKDIR /modules
COPY package.json package-lock.json ./
# Type declarations, source maps and the packages' own tests are of no use at run time and weigh as much as the code.
RUN npm ci --omit=dev --omit=optional --ignore-scripts --no-audit --no-fund \
  && find node_modules -type f \( -name '*.map' -o -name '*.ts' -o -name '*.mts' -o -name '*.cts' \) -delete \
  && find node_modules -type d \( -name test -o -name tests -o -name benchmark -o -name benchmarks \) -prune -exec rm -rf {} + \
  && find node_modules -type d -empty -delete

FROM ${NODE_IMAGE}
WORKDIR /app
COPY --from=modules /modules/node_modules ./node_modules
COPY --from=build /build/dist ./dist
COPY package.json LICENSE ./
# Health and metrics must be reachable from outside the container; the file's own operations.listen goes before this.
ENV NODE_ENV=production \
    SALLYPORT_CONFIG=/etc/sallyport/sallyport.yaml \
    SALLYPORT_OPERATIONS_LISTEN=0.0.0.0:9464
# The official image's user `node`, by number, so that Kubernetes can see that it is not root.
USER 1000:1000
EXPOSE 4180 9464
# Nothing is ever written: run it with a read-only root file system.
HEALTHCHECK --interval=15s --timeout=3s --start-period=10s --retries=3 \
  CMD ["node", "-e", "fetch('http://127.0.0.1:' + (process.env.SALLYPORT_OPERATIONS_LISTEN ?? ':9464').split(':').pop() + '/readyz').then((answer) => process.exit(answer.ok ? 0 : 1), () => process.exit(1))"]
ENTRYPOINT ["node", "/app/dist/main.js"]
CMD ["serve"]
