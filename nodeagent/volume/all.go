package volume

// all is the list of volume types that this node serves. A volume that none
// of them matches is refused; see refuse.
func all() []Type {
	return []Type{
		emptyDir(),
		hostPath(),
		configMap(),
		secret(),
		downwardAPI(),
		projected(),
		image(),
	}
}
