"""The operator's view of the mesh, with istioctl's grammar and columns.

One module per concern: `target` finds the pod that an argument means, `admin` asks its Envoy,
`dump` gives the answer the field names that scripts expect; every other module without click in it
is a pure function from such values to rows.
"""
