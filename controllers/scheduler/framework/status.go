package framework

// Code says how final a rejection is.
type Code uint8

const (
	// Unschedulable: the pod does not fit now, but may once pods leave the node.
	Unschedulable Code = iota + 1
	// UnschedulableAndUnresolvable: removing pods from the node does not help.
	UnschedulableAndUnresolvable
)

// Status is a plugin's rejection of a pod. A nil *Status means "fits".
// Statuses are shared between nodes and must not be changed.
type Status struct {
	Code Code
	// Plugin is the name of the plugin that rejected the pod.
	Plugin string
	// Reasons are the sentences shown to users, counted over all nodes.
	Reasons []string
}

// NewStatus returns a rejection by plugin for the given reasons.
func NewStatus(plugin string, code Code, reasons ...string) *Status {
	return &Status{Code: code, Plugin: plugin, Reasons: reasons}
}
