package delivery

import (
	"errors"

	"github.com/tandem-hybrid/tandem"
)

// bindFilter compiles the conditions of a filter, and adds what is wrong with them to bad.
func (m *Manager) bindFilter(bad *tandem.Error, at string, f *tandem.Filter) {
	bound, err := f.Bind(m.opts.Conditions)
	if err == nil {
		*f = bound
		return
	}
	var e *tandem.Error
	if !errors.As(err, &e) || len(e.Fields) == 0 {
		bad.WithField(at, "%s", tandem.ProblemOf(err).Detail)
		return
	}
	for _, field := range e.Fields {
		bad.WithField(at+field.Pointer, "%s", field.Detail)
	}
}

// bindConfig binds the filters of a stored configuration. One that cannot be bound any more is an error: it would match
// nothing, and events would be passed over.
func (m *Manager) bindConfig(c *config) error {
	for i := range c.Versions {
		filter := &c.Versions[i].Declaration.Filter
		bound, err := filter.Bind(m.opts.Conditions)
		if err != nil {
			text := "a filter cannot be compiled"
			for _, field := range tandem.ProblemOf(err).Errors {
				text += ": " + field.Pointer + " " + field.Detail
			}
			return tandem.Errorf(tandem.CodeOf(err), "%s", text)
		}
		*filter = bound
	}
	return nil
}
