package webadmin

import (
	"maps"
	"sync"
)

// words is one text in every language that there is. A text that goes with a number has its forms with | between them: one and other
// in English, one, few and many in Russian, each with %s for the number.
type words struct{ en, ru string }

func (w words) in(l language) string {
	if l == russian {
		return w.ru
	}
	return w.en
}

// catalogue is every text of the pages. Each area has a file of its own, texts_<area>.go. TestTexts holds that both languages are complete and
// that every text is used.
func catalogue() map[string]words { return allTexts() }

var allTexts = sync.OnceValue(func() map[string]words {
	all := map[string]words{}
	for _, area := range areas() {
		maps.Copy(all, area)
	}
	return all
})

// areas are the parts of the catalogue.
func areas() []map[string]words {
	return []map[string]words{
		frameTexts(), errorTexts(), accountTexts(), gateTexts(), eventTexts(), peopleTexts(), groupTexts(), accessTexts(), deviceTexts(), deskTexts(),
	}
}
