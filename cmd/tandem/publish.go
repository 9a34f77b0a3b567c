package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/client"
)

// maxDataBytes bounds the data of one event read from stdin; a server takes less.
const maxDataBytes = 64 << 20

type publishCmd struct {
	Topic       string `arg:"" help:"Topic to publish to."`
	Data        string `arg:"" optional:"" help:"Data of the event. Without it, and without --file, it is read from stdin."`
	File        string `short:"f" placeholder:"FILE" help:"Publish each line of a file of JSON, CloudEvents or plain ('-' is stdin)."`
	Type        string `short:"t" placeholder:"TYPE" help:"Type of the event (default: the topic's)."`
	Source      string `placeholder:"URI" default:"/tandem/cli" help:"Source of the event (default: ${default})."`
	Subject     string `short:"s" placeholder:"TEXT" help:"Subject of the event, and its key."`
	Key         string `placeholder:"TEXT" help:"What orders the event, in place of the subject."`
	ID          string `placeholder:"ID" help:"Id of the event: publishing it again has no further effect (default: a new one)."`
	ContentType string `placeholder:"TYPE" help:"Content type of the data (default: application/json)."`
	output
	remote
}

func (c *publishCmd) Help() string {
	return `Prints where the event was stored, once it is durable: topic/partition/offset, id and cursor.

Examples:
  tandem publish orders '{"total": 12}' --type order.placed --subject 42
  echo '{"total": 12}' | tandem publish orders -t order.placed -s 42 --json
  tandem publish notes 'hello' -t note.taken --content-type text/plain
  tandem publish orders --file orders.ndjson -t order.placed`
}

func (c *publishCmd) Run(a *app) error {
	cl, err := c.client()
	if err != nil {
		return err
	}
	if c.File != "" {
		switch {
		case c.Data != "":
			return tandem.Errorf(tandem.CodeInvalid, "data and --file cannot be given together")
		case c.ID != "":
			return tandem.Errorf(tandem.CodeInvalid, "--id is for one event, not for the lines of a file")
		case c.ContentType != "":
			return tandem.Errorf(tandem.CodeInvalid, "--content-type is for one event: the lines of a file are JSON")
		}
		return c.lines(a, cl)
	}
	data, err := c.data(a)
	if err != nil {
		return err
	}
	receipt, err := c.publish(a.ctx, cl, data)
	if err != nil {
		return tandem.Wrap("publish to "+c.Topic, err)
	}
	return c.receipt(a, receipt)
}

func (c *publishCmd) data(a *app) ([]byte, error) {
	if c.Data != "" {
		return []byte(c.Data), nil
	}
	if _, ok := terminal(a.stdin); ok {
		return nil, tandem.Errorf(tandem.CodeInvalid, "no data to publish").WithHint("give it as an argument or on stdin, or name a --file")
	}
	data, err := io.ReadAll(io.LimitReader(a.stdin, maxDataBytes+1))
	if err != nil {
		return nil, tandem.Wrap("read stdin", err)
	}
	if len(data) > maxDataBytes {
		return nil, tandem.Errorf(tandem.CodeTooLarge, "stdin has more than %d MiB", maxDataBytes>>20).WithHint("lines of JSON are published by --file -")
	}
	return data, nil
}

func (c *publishCmd) publish(ctx context.Context, cl *client.Client, data []byte) (tandem.Receipt, error) {
	id := c.ID
	if id == "" {
		id = tandem.NewID() // so that the client may send it again
	}
	if c.ContentType == "" || tandem.IsJSON(c.ContentType) {
		if !json.Valid(data) {
			return tandem.Receipt{}, tandem.Errorf(tandem.CodeInvalid, "the data is not JSON").WithHint("put it in quotes, or say --content-type text/plain")
		}
		attributes := c.attributes()
		attributes["id"] = id
		return cl.PublishJSON(ctx, c.Topic, data, attributes)
	}
	if c.Type == "" {
		return tandem.Receipt{}, tandem.Errorf(tandem.CodeInvalid, "--type is required with --content-type")
	}
	receipts, err := cl.Publish(ctx, c.Topic, tandem.Event{ID: id, Source: c.Source, Type: c.Type, Subject: c.Subject,
		Time: time.Now().UTC().Format(time.RFC3339Nano), DataContentType: c.ContentType, Data: data, Meta: tandem.Meta{Key: c.Key}})
	if err != nil {
		return tandem.Receipt{}, err
	}
	return receipts[0], nil
}

func (c *publishCmd) attributes() client.Attributes {
	return client.Attributes{"type": c.Type, "source": c.Source, "subject": c.Subject, "key": c.Key}
}

func (c *publishCmd) receipt(a *app, r tandem.Receipt) error {
	if c.JSON {
		return a.printJSON(r)
	}
	repeat := ""
	switch r.Duplicate {
	case tandem.DuplicateYes:
		repeat = a.style(yellow, " (stored before)")
	case tandem.DuplicateUnknown:
		repeat = " (given to nobody if it was stored before)"
	}
	a.printf("%s/%d/%d  id %s  cursor %s%s\n", r.Topic, r.Partition, r.Offset, r.ID, r.Cursor, repeat)
	return nil
}

// lines publishes a file of lines. Receipts are shown with --json only: there may be millions.
func (c *publishCmd) lines(a *app, cl *client.Client) error {
	in, size := a.stdin, int64(-1)
	if c.File != "-" {
		f, err := os.Open(c.File)
		if err != nil {
			return &tandem.Error{Code: tandem.CodeNotFound, Op: "publish to " + c.Topic, Err: err}
		}
		defer f.Close()
		if info, err := f.Stat(); err == nil && info.Mode().IsRegular() {
			size = info.Size()
		}
		in = f
	}
	if f, ok := terminal(a.stderr); ok {
		bar := newBar(f, c.Topic, size)
		defer bar.Close()
		in = io.TeeReader(in, bar)
	}
	begin, stored, repeated, refused := time.Now(), 0, 0, 0
	_, err := cl.PublishNDJSON(a.ctx, c.Topic, in, c.attributes(), func(r tandem.Receipt, err error) error {
		switch {
		case err != nil:
			refused++
			if refused <= 20 {
				fmt.Fprintln(a.stderr, "tandem: "+explain(err))
			}
			return nil
		case r.Duplicate == tandem.DuplicateYes:
			repeated++
		default:
			stored++
		}
		if c.JSON {
			return a.printJSON(r)
		}
		return nil
	})
	if !c.JSON {
		took := time.Since(begin)
		a.printf("%s: %d stored, %d stored before, %d refused, in %s (%.0f/s)\n", c.Topic, stored, repeated, refused,
			took.Round(time.Millisecond), float64(stored)/took.Seconds())
	}
	switch {
	case err != nil:
		return tandem.Wrap("publish to "+c.Topic, err)
	case refused > 0:
		return errQuiet
	}
	return nil
}

// bar shows how much was read. It fails at nothing: a file that grows, of which the bar makes an error, is published all
// the same.
type bar struct{ shown *progressbar.ProgressBar }

// newBar is for size bytes; negative is any number.
func newBar(out io.Writer, what string, size int64) bar {
	if size == 0 {
		size = -1
	}
	return bar{progressbar.NewOptions64(size, progressbar.OptionSetWriter(out), progressbar.OptionSetDescription(what), progressbar.OptionShowBytes(true),
		progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionClearOnFinish(), progressbar.OptionSpinnerType(14))}
}

func (b bar) Write(p []byte) (int, error) {
	_, _ = b.shown.Write(p)
	return len(p), nil
}

func (b bar) Close() { _ = b.shown.Close() }
