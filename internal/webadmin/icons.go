package webadmin

import (
	"fmt"
	"html/template"
)

// icon draws one of the set: 16 by 16, in the colour of its text. Icons stand beside words, so readers of the screen pass them by.
func icon(name string) (template.HTML, error) {
	shape, ok := shapes()[name]
	if !ok {
		return "", fmt.Errorf("there is no icon %q", name)
	}
	return template.HTML(`<svg class="icon" width="16" height="16" viewBox="0 0 16 16" fill="none" stroke="currentColor" stroke-width="1.5" ` + // #nosec G203 -- shapes are our own constants
		`stroke-linecap="round" stroke-linejoin="round" aria-hidden="true" focusable="false">` + shape + `</svg>`), nil
}

func shapes() map[string]string {
	return map[string]string{
		"logo":     `<path d="M3 14V4.5A2.5 2.5 0 0 1 5.5 2H8v12"/><path d="M8 2l5 2v8l-5 2z" fill="currentColor"/>`,
		"overview": `<path d="M2 8.5 8 3l6 5.5"/><path d="M4 7v6.5h8V7"/>`,
		"events":   `<path d="M2 4h12M2 8h12M2 12h7"/>`,
		"gates":    `<path d="M3.5 14V2.5h9V14M2 14h12"/><path d="M10 8v1"/>`,
		"people":   `<circle cx="6" cy="5.5" r="2.5"/><path d="M1.5 13.5c.3-2.7 2-4 4.5-4s4.2 1.3 4.5 4"/><path d="M11 3.5a2.3 2.3 0 0 1 0 4.2M12.5 9.8c1.3.6 1.9 1.9 2 3.7"/>`,
		"groups":   `<circle cx="8" cy="4.5" r="2"/><circle cx="3.7" cy="10.5" r="2"/><circle cx="12.3" cy="10.5" r="2"/><path d="M7 6.3 4.7 8.8M9 6.3l2.3 2.5M5.7 10.5h4.6"/>`,
		"access":   `<rect x="2" y="2" width="12" height="12" rx="1.5"/><path d="M2 6.5h12M6.5 2v12"/><path d="m8.7 10.3 1.2 1.2 2-2.3"/>`,
		"devices":  `<rect x="4.5" y="1.5" width="7" height="13" rx="1.5"/><path d="M7.3 12.3h1.4"/>`,
		"audit":    `<path d="M3.5 1.5h6l3 3v10h-9z"/><path d="M6 7h4M6 10h4"/>`,
		"settings": `<path d="M2 4.5h6M12 4.5h2M2 11.5h2M8 11.5h6"/><circle cx="10" cy="4.5" r="1.8"/><circle cx="6" cy="11.5" r="1.8"/>`,
		"more":     `<circle cx="3" cy="8" r=".8" fill="currentColor"/><circle cx="8" cy="8" r=".8" fill="currentColor"/><circle cx="13" cy="8" r=".8" fill="currentColor"/>`,
		"search":   `<circle cx="7" cy="7" r="4.5"/><path d="m10.5 10.5 3.5 3.5"/>`,
		"plus":     `<path d="M8 3v10M3 8h10"/>`,
		"edit":     `<path d="m2.5 13.5.7-3L10.5 3l2.5 2.5-7.5 7.3z"/>`,
		"trash":    `<path d="M2.5 4.5h11M6 4.5V2.5h4v2M4 4.5l.6 9h6.8l.6-9"/>`,
		"check":    `<path d="m3 8.5 3.2 3.2L13 4.8"/>`,
		"bar":      `<circle cx="8" cy="8" r="6"/><path d="M5 8h6"/>`,
		"triangle": `<path d="M8 2.5 14.5 13.5h-13z"/><path d="M8 6.5v3.5M8 11.8v.2"/>`,
		"pause":    `<path d="M5.5 3.5v9M10.5 3.5v9"/>`,
		"clock":    `<circle cx="8" cy="8" r="6"/><path d="M8 4.5V8l2.3 1.5"/>`,
		"person":   `<circle cx="8" cy="5" r="2.7"/><path d="M2.8 14c.3-3 2.3-4.5 5.2-4.5s4.9 1.5 5.2 4.5"/>`,
		"sign-out": `<path d="M6.5 2.5h-4v11h4M10 5l3 3-3 3M13 8H6.5"/>`,
		"sun":      `<circle cx="8" cy="8" r="2.8"/><path d="M8 1.5v1M8 13.5v1M1.5 8h1M13.5 8h1M3.4 3.4l.7.7M11.9 11.9l.7.7M3.4 12.6l.7-.7M11.9 4.1l.7-.7"/>`,
		"moon":     `<path d="M13.5 9.5A6 6 0 0 1 6.5 2.5a6 6 0 1 0 7 7z"/>`,
		"screen":   `<rect x="1.5" y="2.5" width="13" height="8.5" rx="1"/><path d="M6 14h4M8 11v3"/>`,
		"right":    `<path d="m6 3.5 4.5 4.5L6 12.5"/>`,
		"left":     `<path d="M10 3.5 5.5 8l4.5 4.5"/>`,
		"down":     `<path d="m4 6 4 4 4-4"/>`,
		"info":     `<circle cx="8" cy="8" r="6"/><path d="M8 7.3v3.7M8 5v.2"/>`,
		"lock":     `<rect x="3" y="7" width="10" height="7" rx="1.5"/><path d="M5.5 7V4.5a2.5 2.5 0 0 1 5 0V7"/>`,
		"download": `<path d="M8 2v8M4.5 7 8 10.5 11.5 7M2.5 13.5h11"/>`,
		"filter":   `<path d="M2 4h12M4.5 8h7M6.5 12h3"/>`,
		"cross":    `<path d="m4 4 8 8M12 4l-8 8"/>`,
		"circle":   `<circle cx="8" cy="8" r="6"/>`,
	}
}
