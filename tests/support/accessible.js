(least) => {
  const found = [], shown = e => e.checkVisibility({visibilityProperty: true, opacityProperty: true});
  const tell = (rule, e) => found.push(`${rule}: ${(e.outerHTML || e.textContent).slice(0, 160)}`);
  const text = e => (e.innerText ?? e.textContent ?? '').trim();
  const named = e => (e.getAttribute('aria-label') || '').trim() || e.title
    || (e.getAttribute('aria-labelledby') || '').split(' ').filter(Boolean)
      .some(id => document.getElementById(id)?.textContent.trim());
  const hidden = e => e.closest('[aria-hidden=true], [inert]');
  if (!document.documentElement.lang) found.push('3.1.1 the page has no language');
  if (!document.title.trim()) found.push('2.4.2 the page has no title');
  if (document.querySelectorAll('main').length !== 1) found.push('1.3.1 there is not one main part');
  const ids = [...document.querySelectorAll('[id]')].filter(e => !e.closest('svg')).map(e => e.id);
  ids.filter((id, i) => ids.indexOf(id) !== i).forEach(id => found.push(`4.1.1 twice: #${id}`));
  let level = 0;
  for (const head of document.querySelectorAll('h1, h2, h3, h4, h5, h6')) {
    if (!shown(head)) continue;
    const next = Number(head.tagName[1]);
    if (next > level + 1) tell(`1.3.1 heading ${next} behind ${level}`, head);
    level = next;
  }
  for (const e of document.querySelectorAll('img, canvas, svg, [role=img]')) {
    if (!shown(e) || hidden(e) || e.id === 'js-plotly-tester' || e.parentElement.closest('[role=img], svg')) continue;
    if (!named(e) && !e.getAttribute('alt') && !e.querySelector(':scope > title')) tell('1.1.1 picture without a name', e);
  }
  for (const e of document.querySelectorAll('button, input, select, textarea, a[href], [role=button], [tabindex="0"]')) {
    if (!shown(e) || hidden(e) || e.closest('svg')) continue;
    if (!named(e) && !text(e) && ![...(e.labels || [])].some(text)) tell('4.1.2 control without a name', e);
  }
  for (const table of document.querySelectorAll('table')) {
    if (!shown(table)) continue;
    if (!table.caption && !named(table) && !table.closest('[aria-labelledby], [aria-label], figure')) tell('1.3.1 table without a name', table);
    for (const head of table.querySelectorAll('th')) {
      if (!head.scope) tell('1.3.1 heading of a table without scope', head);
      if (head.scope === 'col' && !(head.title || head.querySelector('[title]'))) tell('column without its meaning', head);
    }
  }
  const canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
  const rgba = color => {
    canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = '#000'; canvas.fillStyle = color; canvas.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  };
  const over = (top, under) => [0, 1, 2].map(i => top[i] * top[3] + under[i] * (1 - top[3])).concat(1);
  const light = c => c.slice(0, 3).map(v => v / 255).map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = e => {
    const layers = [];
    for (let at = e; at; at = at.parentElement) layers.push(rgba(getComputedStyle(at).backgroundColor));
    const dark = matchMedia('(prefers-color-scheme: dark)').matches && /dark/.test(getComputedStyle(document.documentElement).colorScheme);
    return layers.reverse().reduce((under, top) => over(top, under), dark ? [18, 18, 18, 1] : [255, 255, 255, 1]);
  };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const e = node.parentElement;
    if (!node.textContent.trim() || !shown(e) || e.closest('script, style, noscript, :disabled')) continue;
    const style = getComputedStyle(e), under = behind(e);
    const ink = rgba(e.closest('svg') ? style.fill : style.color);
    const [low, high] = [light(over(ink, under)), light(under)].sort((a, b) => a - b);
    const ratio = (high + 0.05) / (low + 0.05);
    const isLarge = parseFloat(style.fontSize) >= 24;
    if (ratio < (isLarge ? 3 : least)) tell(`1.4.3 contrast ${ratio.toFixed(2)} of "${node.textContent.trim().slice(0, 30)}"`, e);
  }
  return [...new Set(found)];
}
