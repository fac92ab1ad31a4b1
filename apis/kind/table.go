package kind

import (
	"context"
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/registry/rest"
)

// table renders objects of one kind as metav1.Table (rest.TableConvertor).
type table[T Object] struct {
	columns    []Column[T]
	order      func(a, b T) int
	conditions func(T) []metav1.TableRowCondition
}

func newTable[T Object](k *Kind[T]) table[T] {
	columns := k.Columns
	if len(columns) == 0 {
		columns = []Column[T]{NameColumn[T](), CreatedAtColumn[T]()}
	}
	return table[T]{columns: columns, order: k.RowOrder, conditions: k.Conditions}
}

// NewTable prints objects that are no stored kind's.
func NewTable[T Object](columns []Column[T]) rest.TableConvertor { return table[T]{columns: columns} }

// ConvertToTable renders an object or a list of them.
func (t table[T]) ConvertToTable(_ context.Context, object, tableOptions runtime.Object) (*metav1.Table, error) {
	out := &metav1.Table{}
	var objects []T
	collect := func(o runtime.Object) error {
		obj, ok := o.(T)
		if !ok {
			return fmt.Errorf("cannot print %T as a row of %T", o, *new(T))
		}
		objects = append(objects, obj)
		return nil
	}
	if meta.IsListType(object) {
		if err := meta.EachListItem(object, collect); err != nil {
			return nil, err
		}
	} else if err := collect(object); err != nil {
		return nil, err
	}
	if t.order != nil {
		slices.SortStableFunc(objects, t.order)
	}
	for _, obj := range objects {
		cells := make([]any, len(t.columns))
		for i := range t.columns {
			cells[i] = t.columns[i].Value(obj)
		}
		row := metav1.TableRow{Cells: cells, Object: runtime.RawExtension{Object: obj}}
		if t.conditions != nil {
			row.Conditions = t.conditions(obj)
		}
		out.Rows = append(out.Rows, row)
	}
	if l, err := meta.ListAccessor(object); err == nil {
		out.ResourceVersion = l.GetResourceVersion()
		out.Continue = l.GetContinue()
		out.RemainingItemCount = l.GetRemainingItemCount()
	} else if c, err := meta.CommonAccessor(object); err == nil {
		out.ResourceVersion = c.GetResourceVersion()
	}
	if o, ok := tableOptions.(*metav1.TableOptions); !ok || !o.NoHeaders {
		out.ColumnDefinitions = make([]metav1.TableColumnDefinition, 0, len(t.columns))
		for _, c := range t.columns {
			typ := c.Type
			if typ == "" {
				typ = "string"
			}
			out.ColumnDefinitions = append(out.ColumnDefinitions, metav1.TableColumnDefinition{
				Name: c.Name, Type: typ, Format: c.Format, Description: c.Description, Priority: c.Priority})
		}
	}
	return out, nil
}
