// A built site on this machine alone: its pages, its files, its address.
import { createReadStream, existsSync, readFileSync, readdirSync, statSync } from 'node:fs'
import { createServer } from 'node:http'
import { extname, join, relative, resolve, sep } from 'node:path'
import { pathToFileURL } from 'node:url'

const TYPES = {
  '.css': 'text/css', '.csv': 'text/csv', '.html': 'text/html; charset=utf-8', '.jpg': 'image/jpeg', '.js': 'text/javascript',
  '.json': 'application/json', '.mjs': 'text/javascript', '.png': 'image/png', '.svg': 'image/svg+xml', '.webp': 'image/webp',
  '.woff': 'font/woff', '.woff2': 'font/woff2',
}
const BROWSERS = ['chromium', 'chromium-browser', 'google-chrome'].map((name) => `/usr/bin/${name}`)
export const BROWSER = {
  executablePath: process.env.CHROMIUM || BROWSERS.find(existsSync) || BROWSERS[0],
  args: ['--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--disable-background-networking'],
}

export async function serve(folder) {
  const site = resolve(folder)
  const fileOf = (url) => {
    const path = decodeURIComponent(new URL(url).pathname)
    return url.startsWith('file:') ? path : join(site, path)
  }
  const isFile = (path) => path.startsWith(site + sep) && existsSync(path) && statSync(path).isFile()
  const server = createServer((request, response) => {
    const path = fileOf(`http://site${request.url}`)
    if (!isFile(path)) return response.writeHead(404).end()
    response.writeHead(200, { 'content-type': TYPES[extname(path)] ?? 'application/octet-stream' })
    return createReadStream(path).pipe(response)
  })
  await new Promise((ready) => server.listen(0, '127.0.0.1', ready))

  const below = (place) => readdirSync(place, { withFileTypes: true }).flatMap((entry) => {
    const path = join(place, entry.name)
    if (entry.isDirectory()) return entry.name.startsWith('_') ? [] : below(path)
    return entry.name.endsWith('.html') ? [relative(site, path).split(sep).join('/')] : []
  })
  const redirects = (name) => /http-equiv="?refresh/i.test(readFileSync(join(site, name), 'utf8').slice(0, 500))
  const pages = below(site).filter((name) => !redirects(name)).sort()
  if (!pages.length) throw new Error(`${site} holds no page`)
  const served = `http://127.0.0.1:${server.address().port}/`
  return { site, pages, served, lying: `${pathToFileURL(site).href}/`, fileOf, isFile, close: () => server.close() }
}
