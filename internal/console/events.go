package console

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/client"
)

// eventHref is where one event is shown. The cursor, if there is one, says from where on it is looked for.
func eventHref(topic string, e *tandem.Event, cursor string) string {
	return "/topics/" + url.PathEscape(topic) + "/event" + query("id", e.ID, "source", e.Source, "cursor", cursor)
}

// eventPage is one event.
type eventPage struct {
	Topic      string
	Event      tandem.Event
	Attributes [][2]string
	Payload    payload
	Raw        string
	Flow       string // where its flow is shown
}

func (v *visit) event() error {
	topic, q := v.r.PathValue("topic"), v.r.URL.Query()
	ask := client.Query{Last: 1}
	if cursor := q.Get("cursor"); cursor != "" {
		ask = client.Query{Start: tandem.Start{Cursor: tandem.Cursor(cursor)}}
	}
	e, err := v.find(topic, q.Get("id"), q.Get("source"), ask)
	if err != nil {
		return err
	}
	if q.Get("raw") != "" {
		download(v.w, e)
		return nil
	}
	p := eventPage{Topic: topic, Event: *e, Attributes: attributesOf(e), Payload: payloadOf(e, wholeBytes), Raw: eventHref(topic, e, q.Get("cursor")) + "&raw=1",
		Flow: flowOfEvent(topic, e)}
	v.show(http.StatusOK, "event", "Event "+clean(e.ID, 60), &p)
	return nil
}

// find reads one event by its identity, from the place on that the query has, or among the newest that the API looks at.
func (v *visit) find(topic, id, source string, q client.Query) (*tandem.Event, error) {
	filter, err := tandem.FilterOf(map[string]any{"exact": map[string]any{"id": id, "source": source}})
	if err != nil {
		return nil, err
	}
	q.Topics, q.Filter, q.Limit = []string{topic}, filter, 1
	page, err := v.api.Read(v.r.Context(), q)
	if err != nil {
		return nil, err
	}
	if len(page.Events) == 0 {
		return nil, tandem.Errorf(tandem.CodeNotFound, "the event is not there").WithHint("it may be older than the newest 100,000 events, among which it was looked for, or retention has removed it")
	}
	return &page.Events[0].Event, nil
}

// attributesOf lists the attributes of an event, as they can be shown.
func attributesOf(e *tandem.Event) (all [][2]string) {
	add := func(name, value string) {
		if value != "" {
			all = append(all, [2]string{name, clean(value, 2000)})
		}
	}
	add("id", e.ID)
	add("source", e.Source)
	add("type", e.Type)
	add("subject", e.Subject)
	add("datacontenttype", e.DataContentType)
	add("dataschema", e.DataSchema)
	for _, x := range e.Extensions {
		add(x.Name, x.Value)
	}
	add(tandem.AttrFlow, e.Meta.Flow)
	add(tandem.AttrCause, strings.Join(e.Meta.Causes, " "))
	add(tandem.AttrOperation, e.Meta.Operation)
	add(tandem.AttrTraceParent, e.Meta.TraceParent)
	return all
}

// download sends the data of an event as bytes that no browser shows as anything.
func download(w http.ResponseWriter, e *tandem.Event) {
	h := w.Header()
	h.Set("Content-Type", "application/octet-stream")
	h.Set("Content-Disposition", `attachment; filename="event-data"`)
	_, _ = w.Write(e.Data) // a browser that has gone away is nobody's error
}

// publish stores a test event, of JSON, and shows it.
func (v *visit) publish() error {
	topic, form := v.r.PathValue("topic"), v.r.PostForm
	source := form.Get("source")
	receipt, err := v.api.PublishJSON(v.r.Context(), topic, []byte(form.Get("data")), client.Attributes{"type": form.Get("type"), "source": source, "subject": form.Get("subject")})
	if v.acted("publish", topic, err, "event", receipt.ID); err != nil {
		return err
	}
	v.see("/topics/"+url.PathEscape(topic)+"/event", url.Values{"id": {receipt.ID}, "source": {source}, "did": {"publish"}})
	return nil
}

// tail hands the request over to the API, which answers with a stream.
func (v *visit) tail() error {
	topic := v.r.PathValue("topic")
	r := v.r.Clone(v.r.Context())
	r.URL.Path, r.URL.RawPath = "/v1/topics/"+topic+"/events", ""
	r.Header.Del("Cookie")
	r.Header.Set("Accept", tandem.MediaSSE)
	v.console.opts.API.ServeHTTP(v.w, r)
	return nil
}
