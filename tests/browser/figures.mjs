// Measures every drawing of the built book as a phone shows it, and lists what is wrong.
//
//   node figures.mjs SITE REPORT.json
//
// Of each SVG of matplotlib's, `{file, kind, what}`: two texts over each other, a letter
// below 9 pixels, axes with nothing in them, an axis with numbers and no label.
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { chromium } from 'playwright-core'
import { BROWSER } from './serve.mjs'

const COLUMN = 358 // pixels that a phone of 390 leaves a page
const SMALLEST = 9 // pixels of a letter's body
const [site, path] = process.argv.slice(2)
const folder = join(site, '_images')
const files = readdirSync(folder).filter((name) => name.endsWith('.svg')).sort()
const browser = await chromium.launch(BROWSER)
const page = await browser.newPage({ viewport: { width: 390, height: 844 } })

const measured = (smallest) => {
  const faults = []
  const fault = (kind, what) => faults.push({ kind, what })
  const said = (text) => {
    const walk = document.createTreeWalker(text, NodeFilter.SHOW_COMMENT)
    return walk.nextNode() ? walk.currentNode.data.trim() : text.textContent.trim()
  }
  const turned = (text) => /rotate\(-?(?!0\)|90\)|180\)|270\))/.test(text.innerHTML)
  const svg = document.querySelector('svg')
  const zoom = svg.getBoundingClientRect().width / svg.viewBox.baseVal.width
  // A label serves all panels of a row or a column, and one of the whole figure serves every panel.
  const labelled = (axis, axes) => {
    const across = axis.id === axis.parentElement.querySelector('g[id^="matplotlib.axis_"]').id
    const own = axes.querySelector('g[id^=patch_]').getBoundingClientRect()
    const near = (a, b) => Math.abs(a - b) < 2
    const alike = [...svg.querySelectorAll('g[id^=axes_]')].filter((other) => {
      const box = other.querySelector('g[id^=patch_]').getBoundingClientRect()
      return near(box.left, own.left) || near(box.top, own.top)
    })
    const has = (other) => {
      const both = other.querySelectorAll(':scope > g[id^="matplotlib.axis_"]')
      return both[across ? 0 : 1]?.querySelector(':scope > g[id^=text_]')
    }
    const title = axes.querySelector(':scope > g[id^=text_]') // over a panel: what its y axis is
    return alike.some(has) || (!across && title) || svg.querySelector('#figure_1 > g[id^=text_]')
  }
  const texts = [...svg.querySelectorAll('g[id^=text_]')].filter((text) => said(text) && !turned(text))
  const boxes = texts.map((text) => text.getBoundingClientRect())
  for (const [i, a] of boxes.entries()) {
    for (const [j, b] of boxes.entries()) {
      if (j <= i) continue
      const wide = Math.min(a.right, b.right) - Math.max(a.left, b.left)
      const high = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top)
      if (wide > 1 && high > 1) fault('over each other', `'${said(texts[i])}' and '${said(texts[j])}'`)
    }
  }
  for (const axes of svg.querySelectorAll('g[id^=axes_]')) {
    const drawn = [...axes.children].filter((child) => !/^(matplotlib\.axis|patch_|text_|legend)/.test(child.id))
    const bars = axes.querySelectorAll(':scope > g[id^=patch_]').length
    if (!drawn.length && bars <= 5 && !axes.querySelector('image')) fault('nothing drawn', axes.id)
    for (const axis of axes.querySelectorAll('g[id^="matplotlib.axis_"]')) {
      const ticks = [...axis.querySelectorAll('g[id*=tick_] g[id^=text_]')].map(said).filter(Boolean)
      const numbers = ticks.filter((tick) => /^[−+-]?[\d.,]+%?$/.test(tick))
      if (numbers.length > 1 && !labelled(axis, axes)) fault('numbers without a label', `${axes.id}, ${numbers.slice(0, 3)}`)
    }
  }
  for (const text of svg.querySelectorAll('g[id^=text_]')) {
    const scale = /scale\(([\d.]+) /.exec(text.innerHTML)
    const size = scale ? 100 * scale[1] * zoom : NaN
    if (said(text) && size < smallest) fault('small letters', `'${said(text)}', ${size.toFixed(1)} px`)
  }
  return faults
}

const report = []
for (const file of files) {
  const text = readFileSync(join(folder, file), 'utf-8').replace(/^[^]*?<svg/, '<svg')
  if (!text.includes('id="figure_1"')) continue
  await page.setContent(`<body style="margin:0"><div style="width:${COLUMN}px">${text}</div></body>`)
  await page.evaluate((column) => {
    const svg = document.querySelector('svg')
    const own = svg.viewBox.baseVal.width * 4 / 3 // points to pixels
    svg.setAttribute('width', Math.min(column, own))
    svg.removeAttribute('height')
  }, COLUMN)
  for (const found of await page.evaluate(measured, SMALLEST)) report.push({ file, ...found })
}
await browser.close()
writeFileSync(path, JSON.stringify({ files: files.length, faults: report }, null, 1))
