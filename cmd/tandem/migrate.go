package main

import (
	"context"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/schollz/progressbar/v3"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog/driver"
	"github.com/tandem-hybrid/tandem/internal/chain"
	"github.com/tandem-hybrid/tandem/internal/config"
	"github.com/tandem-hybrid/tandem/internal/delivery"
	"github.com/tandem-hybrid/tandem/internal/migrate"
	"github.com/tandem-hybrid/tandem/internal/offsetmap"
	"github.com/tandem-hybrid/tandem/internal/operation"
	"github.com/tandem-hybrid/tandem/server"
)

type migrateCmd struct {
	From       string `placeholder:"FILE" help:"Configuration of what is copied, or the data directory of an embedded log."`
	To         string `placeholder:"FILE" required:"" help:"Configuration of what it is copied to, or the data directory of an embedded log."`
	DryRun     bool   `help:"Show what would be copied, and how much it is."`
	VerifyOnly bool   `help:"Compare both sides of a migration that is finished, before Tandem is started on the new one."`
	ForgetMap  bool   `help:"Remove from --to what translates cursors of before its migrations. Whoever comes with one is told of a gap from then on."`
	output
}

func (c *migrateCmd) Help() string {
	return `Copies topics, events, subscriptions with their progress, dead letters and ledgers, and operations from one engine to another, compares both sides, and keeps a map of offsets in the new one, by which cursors of before stay places. The new side has to be empty, and Tandem stopped on both.

It may be stopped at any time (Ctrl-C, or a kill): the same command goes on where it was, and until it has finished Tandem does not start on the new side. The old side is left as it is.

Of a configuration, engine: and data: count.

Examples:
  tandem migrate --from old.yaml --to new.yaml --dry-run
  tandem migrate --from old.yaml --to new.yaml
  tandem migrate --from ./tandem-data --to /mnt/large/tandem-data
  tandem migrate --from old.yaml --to new.yaml --verify-only --json
  tandem migrate --to new.yaml --forget-map`
}

// rooms say what becomes of the state of each room.
func rooms() []migrate.Room {
	return []migrate.Room{
		{Prefix: "file/"}, // names of topics
		{Prefix: operation.Prefix},
		{Prefix: chain.Prefix},
		{Prefix: delivery.Prefix, Translate: func(ctx context.Context, from offsetmap.State, to *migrate.Moved, put func(string, []byte) error) error {
			return delivery.Migrate(ctx, from, to, put)
		}},
	}
}

func (c *migrateCmd) Run(a *app) error {
	switch {
	case c.From == "" && !c.ForgetMap:
		return tandem.Errorf(tandem.CodeInvalid, "--from is missing").WithHint("name the configuration, or the data directory, of what is copied")
	case c.From != "" && c.ForgetMap:
		return tandem.Errorf(tandem.CodeInvalid, "--forget-map is about --to alone: leave out --from")
	case c.DryRun && c.VerifyOnly, (c.DryRun || c.VerifyOnly) && c.ForgetMap:
		return tandem.Errorf(tandem.CodeInvalid, "--dry-run, --verify-only and --forget-map cannot be given together")
	}
	if c.ForgetMap {
		to, err := openEngine(a, c.To, true)
		if err != nil {
			return err
		}
		return closing(to, tandem.Wrap("forget the map of "+c.To, migrate.Forget(a.ctx, to)))
	}
	from, err := openEngine(a, c.From, true)
	if err != nil {
		return err
	}
	to, err := openEngine(a, c.To, false)
	if err != nil {
		return closing(from, err)
	}
	return closing(from, closing(to, tandem.Wrap("migrate "+c.From+" to "+c.To, c.migrate(a, from, to))))
}

// closing closes an engine and returns the first error.
func closing(d driver.Driver, err error) error {
	if closed := d.Close(); err == nil {
		err = closed
	}
	return err
}

func (c *migrateCmd) migrate(a *app, from, to driver.Driver) error {
	opts := migrate.Options{Rooms: rooms()}
	if f, ok := terminal(a.stderr); ok {
		bar := &stepBar{out: f}
		defer bar.close()
		opts.Progress = bar.show
	}
	m := migrate.New(from, to, opts)
	if c.DryRun {
		p, err := m.Plan(a.ctx)
		if err != nil {
			return err
		}
		return c.plan(a, &p)
	}
	do, did := m.Run, "copied and compared"
	if c.VerifyOnly {
		do, did = m.Verify, "compared"
	}
	s, err := do(a.ctx)
	if err != nil {
		return err
	}
	return c.summary(a, &s, did)
}

func (c *migrateCmd) plan(a *app, p *migrate.Plan) error {
	if c.JSON {
		return a.printJSON(p)
	}
	var topics, state [][]string
	for _, t := range p.Topics {
		topics = append(topics, []string{t.Topic, strconv.Itoa(t.Partitions), strconv.FormatUint(t.Events, 10), bytesText(t.Bytes)})
	}
	for _, r := range p.State {
		state = append(state, []string{r.Prefix, r.How, strconv.FormatUint(r.Records, 10), bytesText(r.Bytes)})
	}
	a.table([]string{"TOPIC", "PARTITIONS", "EVENTS", "SIZE"}, topics)
	if len(state) > 0 {
		a.printf("\n")
		a.table([]string{"STATE", "HOW", "RECORDS", "SIZE"}, state)
	}
	goesOn := ""
	if p.Begun {
		goesOn = ", going on with a copy that was begun"
	}
	a.printf("\n%d events, %s, would be copied from %s to %s%s\n", p.Events, bytesText(p.Bytes), p.From.Engine, p.To.Engine, goesOn)
	return nil
}

func (c *migrateCmd) summary(a *app, s *migrate.Summary, did string) error {
	if c.JSON {
		return a.printJSON(s)
	}
	var rows [][]string
	for _, t := range s.Topics {
		for i, p := range t.Partitions {
			rows = append(rows, []string{t.Topic, strconv.Itoa(i), strconv.FormatUint(p.Events, 10), p.Sum})
		}
	}
	var records uint64
	for _, r := range s.State {
		records += r.Records
	}
	a.table([]string{"TOPIC", "PARTITION", "EVENTS", "CHECKSUM"}, rows)
	took := time.Duration(s.Took * float64(time.Second)).Round(time.Millisecond)
	a.printf("\n%s %d events of %s and %d state records, from %s (log %s) to %s (log %s), in %s\n", did, s.Events, count(len(s.Topics), "topic"), records,
		s.From.Engine, s.From.Log, s.To.Engine, s.To.Log, took)
	if s.Retired > 0 {
		a.printf("%d more were removed by retention meanwhile\n", s.Retired)
	}
	return nil
}

// openEngine opens the engine that a configuration file names, or the embedded one in a directory. there says that the log has to exist already.
func openEngine(a *app, path string, there bool) (driver.Driver, error) {
	opts := server.Options{Data: path}
	if ext := filepath.Ext(path); ext == ".yaml" || ext == ".yml" || isFile(path) {
		f, err := config.Read(path, func(string) (string, bool) { return "", false }) // variables would be for both sides
		if err != nil {
			return nil, err
		}
		opts = f.Options
	}
	opts.Logger = slog.New(slog.NewTextHandler(a.stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	embedded := opts.Engine == server.Engine{}
	if there && embedded {
		if entries, err := os.ReadDir(opts.Data); err != nil || len(entries) == 0 {
			return nil, tandem.Errorf(tandem.CodeNotFound, "there is no log in %s", opts.Data)
		}
	}
	return server.OpenEngine(a.ctx, opts)
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

// stepBar shows how far each step of a migration has come.
type stepBar struct {
	out   io.Writer
	step  migrate.Step
	shown *progressbar.ProgressBar
}

func (b *stepBar) show(p migrate.Progress) {
	if b.shown == nil || b.step != p.Step {
		b.close()
		what := map[migrate.Step]string{migrate.StepEvents: "copying events", migrate.StepState: "copying state", migrate.StepVerify: "comparing"}[p.Step]
		b.step, b.shown = p.Step, progressbar.NewOptions64(max(1, int64(p.Total)), progressbar.OptionSetWriter(b.out), progressbar.OptionSetDescription(what),
			progressbar.OptionShowCount(), progressbar.OptionShowIts(), progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionClearOnFinish())
	}
	_ = b.shown.Set64(int64(min(p.Done, p.Total)))
}

func (b *stepBar) close() {
	if b.shown != nil {
		_ = b.shown.Clear()
		_ = b.shown.Close()
	}
}
