"""Measurements of what a page shows of ours: whether it can be read, and fits its place."""


def faint_texts(page):
    """Every text of ours whose contrast is below what WCAG 2 asks of text, 4.5 to 1."""
    return page.evaluate(_FAINT_TEXTS)


def overflowing(page):
    """Every output of ours that is wider than its place, so that all of it must be scrolled."""
    return page.evaluate(_OVERFLOWING)


_FAINT_TEXTS = """
() => {
    const context = new OffscreenCanvas(1, 1).getContext("2d", {willReadFrequently: true});
    const parsed = color => {
        context.clearRect(0, 0, 1, 1);
        context.fillStyle = color;
        context.fillRect(0, 0, 1, 1);
        const [red, green, blue, alpha] = context.getImageData(0, 0, 1, 1).data;
        return [red, green, blue, alpha / 255];
    };
    const over = (top, below, alpha = top[3]) =>
        [...[0, 1, 2].map(part => top[part] * alpha + below[part] * (1 - alpha)), 1];
    const ancestors = element => element ? [...ancestors(element.parentElement), element] : [];
    const background = element => ancestors(element).reduce(
        (below, each) => over(parsed(getComputedStyle(each).backgroundColor), below),
        [255, 255, 255, 1]);
    const opacity = element => ancestors(element).reduce(
        (product, each) => product * getComputedStyle(each).opacity, 1);
    const luminance = color => {
        const [red, green, blue] = color.slice(0, 3).map(part => part / 255)
            .map(part => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
    };
    const found = new Map();
    for (const root of document.querySelectorAll(".dexto")) {
        const texts = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
        for (let text = texts.nextNode(); text; text = texts.nextNode()) {
            const element = text.parentElement;
            if (!text.data.trim() || !element.checkVisibility()) continue;
            if (element.matches(".highlight span")) continue;  // the colours of the theme's own editor
            const below = background(element);
            const color = parsed(getComputedStyle(element).color);
            const shown = over(color, below, color[3] * opacity(element));
            const [dark, light] = [luminance(shown), luminance(below)].sort((a, b) => a - b);
            const ratio = (light + 0.05) / (dark + 0.05);
            const place = `${element.localName}.${element.className}`;
            if (ratio < 4.5) found.set(
                `${place} ${shown} on ${below}`,
                `${ratio.toFixed(2)}: ${place} "${text.data.trim().slice(0, 30)}" `
                    + `rgb(${shown.slice(0, 3).map(Math.round)}) on `
                    + `rgb(${below.slice(0, 3).map(Math.round)})`);
        }
    }
    return [...found.values()];
}
"""

_OVERFLOWING = """
() => [...document.querySelectorAll(".dexto")]
    .flatMap(root => [root, root.closest(".jp-OutputArea-output"), root.closest(".jp-OutputArea")])
    .filter(element => element && element.scrollWidth > element.clientWidth + 1)
    .map(element => `${element.scrollWidth} > ${element.clientWidth}: ${element.className}: `
        + element.innerText.slice(0, 60))
"""
