"""The engine, a library of its own: from a spec to a graph, a plan and its gradients."""
