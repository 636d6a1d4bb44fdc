package hub

// Bounds of a page.
const (
	PageDefault = 50
	PageMax     = 500
)

// Page asks for one part of a list. Lists are ordered by id, newest first.
type Page struct {
	After string // cursor: Listed.Next of the page before; empty: the newest
	Limit int    // 0: PageDefault; more than PageMax is PageMax
}

// Size is the number of rows that the page may have.
func (p Page) Size() int {
	switch {
	case p.Limit <= 0:
		return PageDefault
	case p.Limit > PageMax:
		return PageMax
	}
	return p.Limit
}

// Listed is one page of a list.
type Listed[T any] struct {
	Items []T
	Next  string // cursor of the next page; empty: there is none
}
