package console

import (
	"net/http"
	"net/url"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/client"
)

// operationPage is one operation that was asked for. The API has no list of them.
type operationPage struct {
	ID        string
	Running   int
	Operation *tandem.Operation
	Problem   *tandem.Problem
	Payload   payload // of the event that ended it
}

func (v *visit) operations() error {
	status, err := v.api.Status(v.r.Context())
	if err != nil {
		return err
	}
	p := operationPage{ID: v.r.URL.Query().Get("id"), Running: status.Operations}
	if p.ID != "" {
		op, err := v.api.Operation(v.r.Context(), p.ID, 0)
		if err != nil {
			p.Problem = tandem.ProblemOf(err)
		} else if p.Operation = &op; op.Result != nil {
			p.Payload = payloadOf(op.Result, wholeBytes)
		}
	}
	v.show(http.StatusOK, "operations", "Operations", &p)
	return nil
}

func (v *visit) cancelOperation() error {
	id := v.r.PathValue("id")
	_, err := v.api.CancelOperation(v.r.Context(), id)
	if v.acted("cancel", id, err); err != nil {
		return err
	}
	v.see("/operations", url.Values{"id": {id}, "did": {"cancel"}})
	return nil
}

// serviceRow is a service and what is known of its base URLs.
type serviceRow struct {
	tandem.Service
	URLs          []tandem.ServiceHealth // Since is empty where nothing is checked
	Routes        []string
	Subscriptions []subscriptionRow
}

// serviceHref is where a service is shown: by its name, since a list has pages.
func serviceHref(name string) string { return "/services" + query("find", name) }

func (v *visit) services() error {
	config, err := v.api.Config(v.r.Context())
	if err != nil {
		return err
	}
	status, err := v.api.Status(v.r.Context())
	if err != nil {
		return err
	}
	subs, err := v.subscriptionRows()
	if err != nil {
		return err
	}
	rows := make([]serviceRow, len(config.Services))
	for i, s := range config.Services {
		rows[i] = serviceRow{Service: s}
		for _, base := range s.BaseURLs() {
			rows[i].URLs = append(rows[i].URLs, healthOf(status.Services, s.Name, base))
		}
		for _, r := range config.Routes {
			if r.Service == s.Name {
				rows[i].Routes = append(rows[i].Routes, r.Match)
			}
		}
		for _, sub := range subs {
			if sub.Service == s.Name {
				rows[i].Subscriptions = append(rows[i].Subscriptions, sub)
			}
		}
	}
	l := paged(v, rows, func(s *serviceRow) string { return s.Name })
	v.show(http.StatusOK, "services", "Services", &l)
	return nil
}

func healthOf(all []tandem.ServiceHealth, service, base string) tandem.ServiceHealth {
	for _, h := range all {
		if h.Service == service && h.URL == base {
			return h
		}
	}
	return tandem.ServiceHealth{Service: service, URL: base}
}

// enginePage is where events are stored, and who reads them right now.
type enginePage struct {
	client.Status
	Presence tandem.StreamPresence
}

func (v *visit) engine() error {
	status, err := v.api.Status(v.r.Context())
	if err != nil {
		return err
	}
	p := enginePage{Status: status}
	if p.Presence, err = v.api.Streams(v.r.Context(), tandem.StreamQuery{Limit: rowsPerPage}); err != nil {
		return err
	}
	v.show(http.StatusOK, "engine", "Engine", &p)
	return nil
}

// configurationPage is what the file says that is in force.
type configurationPage struct {
	client.Configuration
	Topics        []client.Topic
	Subscriptions []subscriptionRow
	Orphans       []string
}

func (v *visit) configuration() error {
	config, err := v.api.Config(v.r.Context())
	if err != nil {
		return err
	}
	p := configurationPage{Configuration: config}
	topics, err := v.api.Topics(v.r.Context())
	if err != nil {
		return err
	}
	subs, err := v.subscriptionRows()
	if err != nil {
		return err
	}
	for _, t := range topics {
		switch t.Owner {
		case "file":
			p.Topics = append(p.Topics, t)
		case "orphan":
			p.Orphans = append(p.Orphans, "topic "+t.Name)
		}
	}
	for _, s := range subs {
		switch s.Owner {
		case "file":
			p.Subscriptions = append(p.Subscriptions, s)
		case "orphan":
			p.Orphans = append(p.Orphans, "subscription "+s.Name)
		}
	}
	v.show(http.StatusOK, "configuration", "Configuration", &p)
	return nil
}

func (v *visit) reload() error {
	err := v.api.Reload(v.r.Context())
	if v.acted("reload", "the configuration", err); err != nil {
		return err
	}
	v.see("/configuration", url.Values{"did": {"reload"}})
	return nil
}
