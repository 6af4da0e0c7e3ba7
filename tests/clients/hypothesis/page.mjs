// The page that starts the client, as the operator of a site would serve it, and
// a server for it and for the files of the package.

import { createReadStream, existsSync } from "node:fs";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { dirname, extname, join, normalize } from "node:path";

const boot = createRequire(import.meta.url).resolve("hypothesis");
/** The folder of what is published. */
export const BUILD = dirname(boot);
export const { version: VERSION } = createRequire(import.meta.url)("hypothesis/package.json");

const KINDS = {
  ".js": "text/javascript",
  ".css": "text/css",
  ".map": "application/json",
  ".woff2": "font/woff2",
};

/** The page. `start` starts the client in a browser; elsewhere it is imported. */
export function html(apiUrl, start = "") {
  const config = { apiUrl, assetRoot: "/client/", oauthClientId: "carillon-tests", rpcAllowedOrigins: [] };
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Hypothesis</title>
<script class="js-hypothesis-config" type="application/json">${JSON.stringify(config)}</script>
</head><body><hypothesis-app></hypothesis-app>${start}</body></html>`;
}

/** What the client expects behind the # of its address, or else it warns. */
export function fragment(origin) {
  return `#config=${encodeURIComponent(JSON.stringify({ version: VERSION, origin }))}`;
}

/** Where the client keeps the token of a service, and how. */
export function signedIn(apiUrl, accessToken) {
  const host = new URL(apiUrl).hostname.replaceAll(".", "%2E");
  const expiresAt = Date.now() + 3_600_000;
  return [`hypothesis.oauth.${host}.token`, JSON.stringify({ accessToken, refreshToken: "none", expiresAt })];
}

/** Serves the page at every path but those of files. */
export async function serve(apiUrl) {
  const page = html(apiUrl, '<script src="/client/build/boot.js"></script>');
  const server = createServer((request, response) => {
    const { pathname } = new URL(request.url, "http://localhost");
    if (!pathname.startsWith("/client/build/")) {
      response.writeHead(200, { "content-type": "text/html; charset=utf-8" }).end(page);
      return;
    }
    const file = join(BUILD, normalize(`/${pathname.slice("/client/build/".length)}`));
    if (!existsSync(file)) {
      response.writeHead(404).end();
      return;
    }
    response.writeHead(200, {
      "content-type": KINDS[extname(file)] ?? "application/octet-stream",
      "access-control-allow-origin": "*",
    });
    createReadStream(file).pipe(response);
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return { origin: `http://127.0.0.1:${server.address().port}`, close: () => server.close() };
}
