// Prints a built site as one PDF: every page of its contents, in their order, by Chromium.
//
//   node print.mjs SITE BOOK.pdf [--publish]
//
// The pages are put under one another in the browser, so links between them lead inside the PDF.
// `--publish` also lays the PDF beside the pages and lets each of them lead to it.
import { copyFileSync, readFileSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { parseArgs } from 'node:util'
import { chromium } from 'playwright-core'
import { BROWSER, serve } from './serve.mjs'

const MARK = '<!-- the book as a PDF -->' // where scripts/pages.py leaves room for a link
const { values, positionals: [folder, path] } = parseArgs({ options: { publish: { type: 'boolean' } }, allowPositionals: true })
const { site, pages, served, close } = await serve(folder)
const browser = await chromium.launch(BROWSER)
const context = await browser.newContext({ viewport: { width: 1000, height: 1400 }, colorScheme: 'light' })
await context.route((url) => !/^(data|blob|about):/.test(url.href) && !url.href.startsWith(served), (route) => route.abort())
const page = await context.newPage()
await page.goto(`${served}index.html`, { waitUntil: 'load' })
await page.waitForURL((url) => !url.href.endsWith('/index.html') || url.href.includes('/chapters/')) // past the redirect
await page.waitForLoadState('load')

const count = await page.evaluate(async (home) => {
  const plain = (url) => url.split(/[?#]/)[0]
  const contents = [...document.querySelectorAll('.bd-sidebar-primary nav a.internal')].map((link) => plain(link.href))
  const addresses = [...new Set([plain(location.href), ...contents])]
  const place = new Map(addresses.map((address, number) => [address, `page-${number}`]))
  const book = document.createElement('main')
  for (const address of addresses) {
    const answer = await fetch(address)
    if (!answer.ok) throw new Error(`the contents lead to ${address}, which is not there`)
    const source = new DOMParser().parseFromString(await answer.text(), 'text/html')
    const article = source.querySelector('article')
    const here = place.get(address)
    // What is pressed, folded, run or downloaded has no place on paper.
    const gone = 'script, button, .headerlink, .hide, .page-end, .figure-data, .book-explorer, .prev-next-footer'
    article.querySelectorAll(gone).forEach((element) => element.remove())
    article.querySelectorAll('[id]').forEach((element) => { element.id = `${here}-${element.id}` })
    article.querySelectorAll('img').forEach((image) => { image.src = new URL(image.getAttribute('src'), address); image.loading = 'eager' })
    article.querySelectorAll('a[href]').forEach((link) => {
      const url = new URL(link.getAttribute('href'), address)
      const target = place.get(plain(url.href))
      if (target) link.href = url.hash ? `#${target}-${decodeURIComponent(url.hash.slice(1))}` : `#${target}`
      else if (url.href.startsWith(home)) link.replaceWith(...link.childNodes)
    })
    const section = document.createElement('section')
    section.id = here
    section.style.breakBefore = here === 'page-0' ? 'auto' : 'page'
    section.append(...article.childNodes)
    book.append(section)
  }
  const style = document.createElement('style')
  style.textContent = `body { background: white; font-size: 11pt } main { display: block; max-width: none; padding: 0 }
    figure, img, tr { break-inside: avoid } h1, h2, h3, summary { break-after: avoid } pre { white-space: pre-wrap }
    img { max-width: 100% !important; max-height: 23cm } table { font-size: 0.8em } .cell_output .output { overflow: visible }`
  document.body.replaceChildren(style, book)
  window.renderMathInElement?.(document.body, window.katex_options ?? katex_options)
  await Promise.all([...document.images].map((image) => image.decode().catch(() => {})))
  await document.fonts.ready
  return addresses.length
}, served)
const number = '<div style="font-size: 8px; width: 100%; text-align: center"><span class="pageNumber"></span></div>'
const margin = { top: '18mm', bottom: '18mm', left: '16mm', right: '16mm' }
await page.pdf({ path, format: 'A4', margin, outline: true, tagged: true, printBackground: true, displayHeaderFooter: true, headerTemplate: '<span></span>', footerTemplate: number })
await browser.close()
close()

if (values.publish) {
  copyFileSync(path, join(site, basename(path)))
  for (const name of pages) {
    const page = join(site, name)
    const up = '../'.repeat(name.split('/').length - 1)
    writeFileSync(page, readFileSync(page, 'utf8').replace(MARK, `<p><a href="${up}${basename(path)}">The whole book as a PDF</a></p>`))
  }
}
console.log(`${count} pages of the book in ${path}`)
