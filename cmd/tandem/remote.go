package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/client"
)

// remote is the flags of every command that speaks to a server.
type remote struct {
	API   string `name:"api" env:"TANDEM_API_URL" default:"http://127.0.0.1:8090" placeholder:"URL" help:"API listener of the server (default: ${default})." group:"Server:"`
	Token string `env:"TANDEM_TOKEN" placeholder:"TOKEN" help:"Bearer token. Prefer the variable: arguments are visible to other users of the machine." group:"Server:"`
}

// output is the flag of every command that prints something worth parsing.
type output struct {
	JSON bool `name:"json" help:"Print JSON, one value a line."`
}

func (r *remote) client() (*client.Client, error) {
	return client.New(r.API, client.Options{Token: r.Token, UserAgent: "tandem/" + version()})
}

// do runs requests with a client of the server.
func (r *remote) do(a *app, requests func(context.Context, *client.Client) error) error {
	cl, err := r.client()
	if err != nil {
		return err
	}
	return requests(a.ctx, cl)
}

// printJSON prints a value on a line.
func (a *app) printJSON(v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return tandem.Wrap("print", err)
	}
	_, err = a.stdout.Write(append(b, '\n'))
	return err
}

func (a *app) printf(format string, args ...any) { fmt.Fprintf(a.stdout, format, args...) }

// table prints rows in columns under a head, which may be nil. On anything but a terminal the columns are parted by tabs, for cut and awk.
func (a *app) table(head []string, rows [][]string) {
	if head != nil {
		rows = append([][]string{head}, rows...)
	}
	if a.width == 0 {
		for _, row := range rows {
			a.printf("%s\n", strings.Join(row, "\t"))
		}
		return
	}
	w := tabwriter.NewWriter(a.stdout, 0, 8, 2, ' ', 0)
	for _, row := range rows {
		fmt.Fprintln(w, strings.Join(row, "\t"))
	}
	_ = w.Flush() // a.stdout keeps the error
}

// confirm asks before something is destroyed. Without a terminal to ask on, --yes must say so.
func (a *app) confirm(yes bool, question string) error {
	if yes {
		return nil
	}
	in, ok := terminal(a.stdin)
	if !ok {
		return tandem.Errorf(tandem.CodeInvalid, "%s needs a yes", question).WithHint("say --yes to do it without being asked")
	}
	fmt.Fprintf(a.stderr, "%s? [y/N] ", strings.ToUpper(question[:1])+question[1:])
	answer := make([]byte, 8)
	n, _ := in.Read(answer)
	if s := strings.ToLower(strings.TrimSpace(string(answer[:n]))); s != "y" && s != "yes" {
		return tandem.Errorf(tandem.CodeInvalid, "nothing was done")
	}
	return nil
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
