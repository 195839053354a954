// What is looked for on a page. `read` runs inside it; `keyboard` drives it from outside.

// The page's links and ids, and its faults as [kind, what] that can be seen without touching it.
export function read() {
  const faults = []
  const article = document.querySelector('main article') ?? document.querySelector('main') ?? document.body
  const all = (selector, below = article) => [...below.querySelectorAll(selector)]
  const shown = (element) => element.checkVisibility({ visibilityProperty: true })
  const name = (element) => {
    const where = element.id ? `#${element.id}` : `.${[...element.classList].join('.')}`
    return `<${element.localName}${where.length > 1 ? ` ${where}` : ''}> ${element.textContent.trim().replace(/\s+/g, ' ').slice(0, 60)}`
  }

  for (const image of all('img', document)) {
    const address = image.getAttribute('src') ?? ''
    const alt = image.getAttribute('alt') ?? ''
    if (image.complete && image.naturalWidth === 0) faults.push(['image', address])
    if (!article.contains(image)) continue
    if (!alt.trim() || /\.(svg|png|jpe?g|webp)$/i.test(alt) || address.endsWith(alt)) faults.push(['alt', address])
  }
  for (const drawing of all('svg, canvas')) {
    const named = drawing.getAttribute('aria-label') || drawing.getAttribute('aria-labelledby') || drawing.querySelector('title')
    if (shown(drawing) && !named && !drawing.closest('[aria-hidden=true], button, a, summary')) faults.push(['alt', name(drawing)])
  }

  // Too wide: the page itself, or a thing that leaves the screen and that nothing lets one scroll to.
  const screen = document.documentElement.clientWidth
  const page = document.documentElement.scrollWidth
  if (page > screen + 1) faults.push(['wide', `the page has ${page} of ${screen} points`])
  const scrolls = (element) => element && element !== document.documentElement &&
    (/auto|scroll/.test(getComputedStyle(element).overflowX) || scrolls(element.parentElement))
  for (const element of all('table, pre, img, svg, .math, dl, dt, p, code, h1, h2, h3, input, button')) {
    const { left, right, width } = element.getBoundingClientRect()
    if (width && shown(element) && (right > screen + 1 || left < -1) && !scrolls(element) && !element.closest('.katex-mathml'))
      faults.push(['wide', `${name(element)} reaches from ${Math.round(left)} to ${Math.round(right)} of ${screen}`])
  }

  for (const formula of all('.math'))
    if (!formula.querySelector('.katex') || formula.querySelector('.katex-error')) faults.push(['maths', formula.textContent.trim()])
  const words = document.createTreeWalker(article, NodeFilter.SHOW_TEXT)
  while (words.nextNode()) {
    const { data, parentElement } = words.currentNode
    if (/\$\$|\$[^$\s][^$]*\\[a-z]+[^$]*\$|\\\(|\\\[/.test(data) && !parentElement.closest('code, pre, script, style, .katex, .math'))
      faults.push(['maths', data.trim()])
  }

  let above = 0
  const headings = all('h1, h2, h3, h4, h5, h6').filter(shown)
  for (const heading of headings) {
    const level = Number(heading.localName[1])
    if (level > above + 1) faults.push(['headings', `level ${level} after ${above}: ${heading.textContent.trim()}`])
    above = level
  }
  // A program or a link that asks for the second of two would get the first.
  const named = all('[id]').map((element) => element.id)
  for (const twice of new Set(named.filter((id, place) => named.indexOf(id) < place))) faults.push(['id', twice])
  const titles = headings.filter((heading) => heading.localName === 'h1').length
  if (titles !== 1) faults.push(['headings', `${titles} titles`])

  return {
    faults,
    links: all('a[href]', document).filter((link) => link.getAttribute('href') !== '#').map((link) => link.href),
    ids: all('[id], a[name]', document).flatMap((element) => [element.id, element.getAttribute('name')].filter(Boolean)),
  }
}

// Every input of an article must be reached by Tab, show that it has the focus, and do its work by keys.
export async function keyboard(page) {
  const faults = []
  const inputs = 'article :is(input, select, textarea):not([type=hidden], [type=radio], [disabled])'
  for (const input of await page.$$(inputs)) {
    if (!(await input.isVisible())) continue
    const [kind, name] = await input.evaluate((element) => [element.type, element.labels?.[0]?.textContent.trim() || element.id])
    const text = () => page.$eval('article', (article) => article.innerText)
    await input.evaluate((element) => { // the focus goes to what stands before it
      const focusable = 'a[href], button, input, select, textarea, summary, [tabindex]'
      const stops = [...document.querySelectorAll(focusable)].filter((stop) => stop.tabIndex >= 0 && stop.checkVisibility({ visibilityProperty: true }))
      const before = stops.filter((stop) => stop.compareDocumentPosition(element) & Node.DOCUMENT_POSITION_FOLLOWING).at(-1)
      before ? before.focus() : document.activeElement.blur()
    })
    await page.keyboard.press('Tab')
    const focus = await input.evaluate((element) => {
      const { outlineStyle, boxShadow } = getComputedStyle(element)
      return [document.activeElement === element, outlineStyle !== 'none' || boxShadow !== 'none']
    })
    if (!focus[0]) { faults.push(`'${name}' is not reached by Tab`); continue }
    if (!focus[1]) faults.push(`'${name}' does not show the focus`)
    const before = await text()
    if (kind === 'range') await page.keyboard.press((await input.evaluate((element) => element.value > element.min)) ? 'ArrowLeft' : 'ArrowRight')
    else if (kind === 'checkbox') await page.keyboard.press('Space')
    else if (kind.startsWith('select')) await page.keyboard.press('ArrowDown')
    else await page.keyboard.type('ma')
    if ((await text()) === before) { faults.push(`'${name}' does nothing by keys`); continue }
    if (kind !== 'search') continue
    await page.keyboard.press('Tab') // to the first thing found
    const found = await text()
    await page.keyboard.press('Enter')
    await page.waitForTimeout(50)
    if ((await text()) === found) faults.push(`what '${name}' finds cannot be opened by keys`)
  }
  return faults
}
