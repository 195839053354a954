// Asks the explorer of the levels, as a reader with a phone or a keyboard would, and writes down
// what it answers.
//
//   node explore.mjs SITE ANSWERS.json levels.html SYNSET ...
//
// For each synset: the rows of its table (level, label, leaves with it); and, one label after the
// other, what the class says of itself and which leaves it lists. Every second one goes by keys.
import { writeFileSync } from 'node:fs'
import { chromium } from 'playwright-core'
import { BROWSER, serve } from './serve.mjs'

const LEVEL = 2 // whose class is opened
const [folder, path, name, ...wanted] = process.argv.slice(2)
const { served, close } = await serve(folder)
const browser = await chromium.launch(BROWSER)
const context = await browser.newContext({ viewport: { width: 390, height: 844 }, isMobile: true, hasTouch: true })
const page = await context.newPage()
await page.goto(served + name)

const rows = () => page.$$eval('.ex-table tbody tr', (all) => {
  let level
  return all.map((row) => {
    level = row.querySelector('th')?.textContent ?? level
    return [level, ...[...row.querySelectorAll('td')].map((cell) => cell.textContent)]
  })
})
const press = async (button, byKeys) => {
  if (!byKeys) return button.tap()
  await button.focus()
  return page.keyboard.press('Enter')
}
const answers = {}
for (const [i, synset] of wanted.entries()) {
  const byKeys = i % 2 === 1
  await page.fill('#ex-search', '')
  await page.locator('#ex-search').pressSequentially(synset)
  if (byKeys) await page.keyboard.press('Tab')
  if (byKeys) await page.keyboard.press('Enter')
  else await page.locator('ul[aria-label=Found] button').first().tap()
  const title = await page.textContent('#ex-title')
  const table = await rows()
  await press(page.locator('.ex-table tbody button').nth(table.findIndex(([level]) => level === `${LEVEL}`)), byKeys)
  const focused = await page.evaluate(() => document.activeElement.id)
  const heading = await page.textContent('#ex-title')
  while (await page.locator('button', { hasText: /^Show (all|480 more)/ }).count())
    await press(page.locator('button', { hasText: /^Show (all|480 more)/ }).last(), byKeys)
  const members = await page.$$eval('ul.ex-list', (lists) => [...lists].at(-1).innerText.match(/n\d{8}/g))
  answers[synset] = { title, table, heading, focused, members }
}
await browser.close()
close()
writeFileSync(path, JSON.stringify(answers))
