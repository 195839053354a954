// Searches, compares and labels in the explorers, goes back and forth, and writes down what is there.
//
//   node states.mjs SITE ANSWERS.json LIST SYNSET,SYNSET ...
//
// SITE holds levels.html, taxonomy.html and theory.html; LIST is a text for the own list; each pair of
// synsets is compared by its address.
import { readFileSync, writeFileSync } from 'node:fs'
import { chromium } from 'playwright-core'
import { BROWSER, serve } from './serve.mjs'

const [folder, path, list, ...pairs] = process.argv.slice(2)
const { served, close } = await serve(folder)
const browser = await chromium.launch(BROWSER)
const page = await browser.newPage()
const answers = {}
const hash = () => decodeURIComponent(new URL(page.url()).hash)
const title = () => page.textContent('#ex-title')
const open = async (address) => { // a new page: what stands in the address is all it knows
  await page.goto('about:blank')
  await page.goto(served + address)
}

await open('levels.html')
await page.fill('#ex-search', 'banana')
await page.keyboard.press('Enter')
answers.banana = {
  hash: hash(), status: await page.textContent('#ex-status'),
  found: await page.$$eval('ul[aria-label=Found] button', (all) => all.map((one) => one.innerText)),
  focused: await page.evaluate(() => document.activeElement.innerText),
}
await page.getByText('n07753592').click()
answers.chosen = [hash(), await title()]
await page.fill('#ex-search', 'robin')
answers.old = await page.isVisible('.ex-table') // under a new search
await page.fill('#ex-search', 'n02113023')
await page.keyboard.press('Enter') // the only one
answers.only = [hash(), await title()]
await page.goBack()
answers.back = [hash(), await title(), await page.inputValue('#ex-search')]
await page.goForward()
answers.forth = [hash(), await title()]
await page.reload()
answers.again = [hash(), await title()]
await open('levels.html#leaf=n00000001')
answers.unknown = await page.textContent('#ex-status')

await open('levels.html')
await page.getByText('Compare two leaves').click()
for (const synset of pairs[0].split(',')) {
  await page.fill('#ex-search', synset)
  await page.keyboard.press('Enter')
}
answers.picked = [hash(), await title()]
answers.pairs = {}
for (const pair of pairs) {
  const [one, other] = pair.split(',')
  await open(`levels.html#leaf=${one}&with=${other}`)
  answers.pairs[pair] = {
    text: await page.textContent('.ex'),
    shared: await page.$$eval('.ex-table tbody tr', (rows) => rows.map((row) => new Set([...row.querySelectorAll('.ex-shared')].map((one) => one.textContent)).size)),
  }
}

const labelled = async (give) => {
  await open('levels.html#labels=mine')
  await give()
  const [download] = await Promise.all([page.waitForEvent('download'), page.getByText('Download the labels').click()])
  const said = await page.$$eval('[role=status]', (all) => all.map((one) => one.textContent).join(''))
  return { said, name: download.suggestedFilename(), csv: readFileSync(await download.path(), 'utf8') }
}
answers.pasted = await labelled(async () => {
  await page.fill('#ex-own', readFileSync(list, 'utf8'))
  await page.getByText('Make the labels').click()
})
answers.file = await labelled(() => page.setInputFiles('#ex-file', list))

await open('taxonomy.html')
await page.fill('#ex-search', 'zzzqq')
answers.latin = await page.textContent('#ex-status')
await page.fill('#ex-search', 'robin')
answers.robin = await page.locator('ul[aria-label=Found] button').first().textContent()
await page.fill('#ex-search', 'shark')
answers.shark = await page.locator('ul[aria-label=Found] button').allTextContents()
await page.fill('#ex-search', 'birds')
await page.keyboard.press('Enter')
answers.birds = [hash(), await title()]
await page.fill('#ex-search', 'ammophila')
await page.locator('ul[aria-label=Found] button').first().click()
answers.taxon = [hash(), await title()]
await page.reload()
answers.taxonAgain = [hash(), await title()]
await page.goBack()
answers.taxonBack = [hash(), await title()]

const outputs = () => page.$$eval('output', (all) => all.map((one) => one.textContent))
const trained = () => page.waitForFunction(() => /hard samples wrong/.test(document.querySelector('[role=status]').textContent))
await open('theory.html')
answers.invited = await page.getByText('Train both networks').isVisible()
await open('theory.html#k=2&alpha=0.3&sigma=0.05&step=20&sample=3')
await trained()
answers.theory = { outputs: await outputs(), title: await title(), said: await page.textContent('[role=status]') }
await page.locator('input').nth(1).focus()
await page.keyboard.press('ArrowLeft')
answers.moved = [hash(), await outputs()]
await page.getByText('Another hard sample').click()
answers.next = await title()
await page.goBack()
await page.goBack()
answers.theoryBack = [hash(), await outputs(), await title()]
await browser.close()
close()
writeFileSync(path, JSON.stringify(answers))
