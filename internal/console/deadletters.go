package console

import (
	"cmp"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/tandem-hybrid/tandem"
)

// maxGrouped is how many dead letters of a subscription are looked at for their causes, or fewer that hold maxGroupedBytes of data.
const (
	maxGrouped      = 2000
	maxGroupedBytes = 32 << 20
)

func (v *visit) deadLetters() error {
	rows, err := v.subscriptionRows()
	if err != nil {
		return err
	}
	rows = slices.DeleteFunc(rows, func(s subscriptionRow) bool { return s.Status.Dead == 0 })
	slices.SortStableFunc(rows, func(a, b subscriptionRow) int { return cmp.Compare(b.Status.Dead, a.Status.Dead) })
	l := paged(v, rows, func(s *subscriptionRow) string { return s.Name })
	v.show(http.StatusOK, "deadletters", "Dead letters", &l)
	return nil
}

// deadGroup is the dead letters of one cause.
type deadGroup struct {
	Cause       string // names it in forms
	Reason      string
	Status      int
	Detail      string
	Count       int
	First, Last string // when they died
	IDs         []string
}

// groupsOf gathers dead letters by what ended them, the largest group first. Details that differ in digits alone are one cause: they
// name ports, durations and ids.
func groupsOf(letters []tandem.DeadLetter) []*deadGroup {
	var groups []*deadGroup
	byCause := map[string]*deadGroup{}
	for i := range letters {
		d := &letters[i]
		cause := tandem.DerivedID(d.Reason, strconv.Itoa(d.Status), withoutDigits(d.Detail))
		g := byCause[cause]
		if g == nil {
			g = &deadGroup{Cause: cause, Reason: d.Reason, Status: d.Status, Detail: clean(d.Detail, 300), First: d.At, Last: d.At}
			byCause[cause] = g
			groups = append(groups, g)
		}
		g.Count++
		g.First, g.Last = min(g.First, d.At), max(g.Last, d.At)
		g.IDs = append(g.IDs, d.ID)
	}
	slices.SortStableFunc(groups, func(a, b *deadGroup) int { return b.Count - a.Count })
	return groups
}

func withoutDigits(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' {
			return -1
		}
		return r
	}, s)
}

// deadPage is the dead letters of one subscription.
type deadPage struct {
	Name    string
	Groups  []*deadGroup
	Looked  int  // at so many
	More    bool // there are more than that
	Cause   string
	Letters []tandem.DeadLetter // of a group, or all; one page
	From    int
	Next    string
}

// letters returns the dead letters of a subscription, as many as are grouped, without the data of their events.
func (v *visit) letters(name string) (all []tandem.DeadLetter, more bool, err error) {
	size := 0
	for after := ""; ; {
		page, next, err := v.api.DeadLetters(v.r.Context(), name, after, min(1000, maxGrouped-len(all)))
		if err != nil {
			return nil, false, err
		}
		for i := range page {
			size += len(page[i].Event.Data)
			page[i].Event.Data = nil
		}
		all = append(all, page...)
		if next == "" || len(all) >= maxGrouped || size >= maxGroupedBytes {
			return all, next != "", nil
		}
		after = next
	}
}

func (v *visit) deadLettersOf() error {
	q := v.r.URL.Query()
	p := deadPage{Name: v.r.PathValue("name"), Cause: q.Get("cause")}
	all, more, err := v.letters(p.Name)
	if err != nil {
		return err
	}
	p.Groups, p.More, p.Looked = groupsOf(all), more, len(all)
	if p.Cause != "" {
		i := slices.IndexFunc(p.Groups, func(g *deadGroup) bool { return g.Cause == p.Cause })
		all = slices.DeleteFunc(all, func(d tandem.DeadLetter) bool { return i < 0 || !slices.Contains(p.Groups[i].IDs, d.ID) })
	}
	p.From, _ = strconv.Atoi(q.Get("from"))
	p.From = min(max(p.From, 0), len(all))
	end := min(p.From+rowsPerPage, len(all))
	p.Letters = all[p.From:end]
	if end < len(all) {
		p.Next = v.r.URL.Path + query("cause", p.Cause, "from", end) + "#letters"
	}
	v.show(http.StatusOK, "deadlettersof", "Dead letters of "+p.Name, &p)
	return nil
}

// deadLetterPage is one dead letter.
type deadLetterPage struct {
	Letter     tandem.DeadLetter
	Attributes [][2]string
	Payload    payload
	Flow       string // where its flow is shown
}

func (v *visit) deadLetter() error {
	d, err := v.api.DeadLetter(v.r.Context(), v.r.PathValue("name"), v.r.PathValue("id"))
	if err != nil {
		return err
	}
	if v.r.URL.Query().Get("raw") != "" {
		download(v.w, &d.Event.Event)
		return nil
	}
	v.show(http.StatusOK, "deadletter", "Dead letter of "+d.Subscription, &deadLetterPage{d, attributesOf(&d.Event.Event), payloadOf(&d.Event.Event, wholeBytes), flowHref(d.Event.Meta.Flow, d.ID)})
	return nil
}

func (v *visit) redrive() error { return v.settle("redrive") }
func (v *visit) discard() error { return v.settle("discard") }

// settlePage asks before dead letters are redriven or discarded, with how many.
type settlePage struct {
	Name, Action         string
	Which                string // in words
	ID, Cause, All, Rate string // as the form said it
	Count                int
}

// settle counts the dead letters that a form chooses and asks, or does it when the answer is yes.
func (v *visit) settle(action string) error {
	form := v.r.PostForm
	p := settlePage{Name: v.r.PathValue("name"), Action: action, ID: form.Get("id"), Cause: form.Get("cause"), All: form.Get("all"), Rate: form.Get("rate")}
	sel, err := v.selection(&p)
	if err != nil {
		return err
	}
	sel.DryRun = form.Get("sure") == ""
	do := v.api.Redrive
	if action == "discard" {
		do = v.api.Discard
	}
	n, err := do(v.r.Context(), p.Name, sel)
	if !sel.DryRun {
		v.acted(action, p.Name, err, "dead letters", n.Count, "id", p.ID, "cause", p.Cause)
	}
	if err != nil {
		return err
	}
	if p.Count = n.Count; sel.DryRun {
		v.show(http.StatusOK, "settle", strings.ToUpper(action[:1])+action[1:]+"?", &p)
		return nil
	}
	v.see("/dead-letters/"+url.PathEscape(p.Name), url.Values{"did": {action}, "n": {strconv.Itoa(n.Count)}})
	return nil
}

// selection is what a form chooses: one, those of a cause that are there now, or all.
func (v *visit) selection(p *settlePage) (sel tandem.DeadLetterSelection, err error) {
	if p.Rate != "" && p.Action == "redrive" {
		if sel.Rate, err = strconv.ParseFloat(p.Rate, 64); err != nil || !(sel.Rate >= 0) {
			return sel, tandem.Errorf(tandem.CodeInvalid, "%q is not a number of events a second", clean(p.Rate, 60))
		}
	}
	switch {
	case p.ID != "":
		sel.IDs, p.Which = []string{p.ID}, "one"
	case p.Cause != "":
		all, _, err := v.letters(p.Name)
		if err != nil {
			return sel, err
		}
		for _, g := range groupsOf(all) {
			if g.Cause == p.Cause {
				sel.IDs, p.Which = g.IDs, "of one cause: "+g.Detail
			}
		}
		if sel.IDs == nil {
			return sel, tandem.Errorf(tandem.CodeNotFound, "there is no dead letter of this cause any more")
		}
	case p.All == "yes":
		p.Which = "all of this subscription"
	default:
		return sel, tandem.Errorf(tandem.CodeInvalid, "no dead letter was chosen")
	}
	return sel, nil
}
