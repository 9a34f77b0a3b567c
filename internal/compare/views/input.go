package views

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"

	"github.com/tandem-hybrid/tandem"
)

// view is one page view.
type view struct {
	Visitor string `json:"visitor"`
	Page    string `json:"page"`
	Agent   string `json:"agent"`
}

// file is the real input: an access log in Apache's combined format.
const file = "access.log"

// load reads the views of the log in a directory, or makes some up when it is not there.
func load(dir string, seed uint64) ([]view, error) {
	if dir == "" {
		return generate(seed), nil
	}
	f, err := os.Open(filepath.Join(dir, file))
	if errors.Is(err, fs.ErrNotExist) {
		return generate(seed), nil
	}
	if err != nil {
		return nil, tandem.Wrap("read page views", err)
	}
	defer f.Close()
	views, err := read(f)
	if err != nil {
		return nil, &tandem.Error{Code: tandem.CodeInvalid, Op: "read " + f.Name(), Err: err}
	}
	return views, nil
}

// line is host, identity, user, time, request, status, size, referrer and agent; quotes in the last are escaped.
var line = regexp.MustCompile(`^(\S+) \S+ \S+ \[[^\]]+\] "[A-Z]+ (\S+)[^"]*" \d{3} \S+ "(?:[^"\\]|\\.)*" "((?:[^"\\]|\\.)*)"?`)

// read reads a log. A line that is no request, such as the noise of scanners, is left out.
func read(r io.Reader) (views []view, err error) {
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		if m := line.FindStringSubmatch(lines.Text()); m != nil {
			views = append(views, view{m[1], m[2], m[3]})
		}
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	if len(views) == 0 {
		return nil, errors.New("there is no page view in it")
	}
	return views, nil
}

// generate makes up a thousand views, of which a few visitors and pages have the most.
func generate(seed uint64) []view {
	rng := rand.New(rand.NewPCG(seed, 4))
	visitors, pages := rand.NewZipf(rng, 1.2, 4, 499), rand.NewZipf(rng, 1.1, 2, 99)
	views := make([]view, 1000)
	for i := range views {
		n := visitors.Uint64()
		views[i] = view{fmt.Sprintf("192.0.2.%d", n%250), fmt.Sprintf("/articles/%d", pages.Uint64()), fmt.Sprintf("Mozilla/5.0 (browser %d)", n)}
	}
	return views
}
