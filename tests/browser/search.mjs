// Searches a built site for words, as its search field does, and writes down which pages it finds.
//
//   node search.mjs SITE FOUND.json WORD ...
import { writeFileSync } from 'node:fs'
import { chromium } from 'playwright-core'
import { BROWSER, serve } from './serve.mjs'

const [folder, path, ...words] = process.argv.slice(2)
const { served, lying, close } = await serve(folder)
const browser = await chromium.launch(BROWSER)
const page = await browser.newPage()
const found = {}
for (const word of words) {
  found[word] = {}
  for (const [how, home] of [['served', served], ['folder', lying]]) {
    await page.goto(`${home}search.html?q=${encodeURIComponent(word)}`)
    await page.waitForFunction(() => document.querySelector('.search-summary')?.textContent.match(/finished|did not match|found/i), null, { timeout: 20_000 })
    const links = await page.$$eval('ul.search li > a, ul.search li > span > a', (all) => all.map((link) => link.href))
    found[word][how] = links.map((link) => link.slice(home.length).split(/[?#]/)[0])
  }
}
await browser.close()
close()
writeFileSync(path, JSON.stringify(found))
