// Package invoices reads the orders that customers of the shop place: invoices in a file, or the sample.
package invoices

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/tandem-hybrid/tandem"
	shop "github.com/tandem-hybrid/tandem/examples/shop"
)

// Invoice is one order of a file.
type Invoice struct {
	Number   string
	Customer string // guest when the file has none
	Return   bool   // a credit note
	Lines    []Line
}

// Line is a line of an invoice, as the shop takes it.
type Line struct {
	Code           string `json:"code"`
	Description    string `json:"description,omitempty"`
	Quantity       int64  `json:"quantity"`
	UnitPricePence int64  `json:"unitPricePence"`
}

// Total is the sum of its lines.
func (v *Invoice) Total() (pence int64) {
	for _, l := range v.Lines {
		pence += l.Quantity * l.UnitPricePence
	}
	return pence
}

// Guest is the account of invoices that name no customer.
const Guest = "guest"

const maxInvoice = 1000 // lines

var invoiceColumns = []string{"InvoiceNo", "StockCode", "Description", "Quantity", "InvoiceDate", "UnitPrice", "CustomerID", "Country"}

// Load reads a file of invoices, or the sample when path is empty. Codes: NotFound, Invalid.
func Load(path string) ([]*Invoice, error) {
	if path == "" {
		return Read(strings.NewReader(string(shop.SampleOrders)), "sample")
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, &tandem.Error{Code: tandem.CodeNotFound, Op: "read orders", Err: err}
	}
	defer f.Close()
	return Read(f, path)
}

// Read reads CSV with a heading. Lines of one invoice need not stand together. An invoice whose number begins
// with C is a credit note: its quantities are negative, and it becomes a return. Lines of one code and price are added up. name is what errors call the file. Code: Invalid.
func Read(r io.Reader, name string) ([]*Invoice, error) {
	in := csv.NewReader(r)
	in.FieldsPerRecord = len(invoiceColumns)
	in.ReuseRecord = true
	bad := func(err error) error {
		return tandem.Wrap("read "+name, &tandem.Error{Code: tandem.CodeInvalid, Err: err})
	}
	head, err := in.Read()
	if err == nil {
		head[0] = strings.TrimPrefix(head[0], "\ufeff")
	}
	if err != nil || !slices.Equal(head, invoiceColumns) {
		return nil, bad(fmt.Errorf("the first line is not %s", strings.Join(invoiceColumns, ",")))
	}
	var list []*Invoice
	byNumber := map[string]*Invoice{}
	for {
		row, err := in.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, bad(err)
		}
		at, _ := in.FieldPos(0)
		number := strings.Clone(row[0])
		v := byNumber[number]
		if v == nil {
			v = &Invoice{Number: number, Customer: customerOf(row[6]), Return: strings.HasPrefix(number, "C")}
			byNumber[number] = v
			list = append(list, v)
		}
		if err := v.add(row); err != nil {
			return nil, bad(fmt.Errorf("line %d: %w", at, err))
		}
	}
	if len(list) == 0 {
		return nil, bad(errors.New("there are no invoices"))
	}
	return list, nil
}

func (v *Invoice) add(row []string) error {
	if v.Number == "" || row[1] == "" {
		return errors.New("InvoiceNo and StockCode are required")
	}
	if c := customerOf(row[6]); c != v.Customer {
		return fmt.Errorf("invoice %s is of customer %s and of %s", v.Number, v.Customer, c)
	}
	quantity, err := strconv.ParseInt(row[3], 10, 32)
	if err != nil || quantity == 0 {
		return fmt.Errorf("quantity %q is not a number other than 0", row[3])
	}
	if v.Return {
		quantity = -quantity
	}
	if quantity < 0 {
		return fmt.Errorf("quantity %s: only invoices that begin with C give back, and they do nothing else", row[3])
	}
	price, err := parsePence(row[5])
	if err != nil {
		return err
	}
	code := strings.TrimSpace(row[1])
	for i := range v.Lines {
		if l := &v.Lines[i]; l.Code == code && l.UnitPricePence == price {
			l.Quantity += quantity
			return nil
		}
	}
	if len(v.Lines) == maxInvoice {
		return fmt.Errorf("invoice %s has more than %d lines", v.Number, maxInvoice)
	}
	v.Lines = append(v.Lines, Line{Code: strings.Clone(code), Description: strings.TrimSpace(strings.ToValidUTF8(row[2], "?")),
		Quantity: quantity, UnitPricePence: price})
	return nil
}

// customerOf turns a customer number into the name of an account.
func customerOf(id string) string {
	id = strings.ToLower(strings.TrimSpace(id))
	if id == "" {
		return Guest
	}
	return strings.Clone(id)
}

// parsePence reads pounds with at most two decimals, exactly.
func parsePence(s string) (int64, error) {
	whole, fraction, _ := strings.Cut(s, ".")
	for len(fraction) < 2 {
		fraction += "0"
	}
	n, err := strconv.ParseUint(whole+fraction, 10, 40)
	if err != nil || len(fraction) > 2 || whole == "" {
		return 0, fmt.Errorf("price %q is not pounds with at most two decimals, 0 or more", s)
	}
	return int64(n), nil
}
