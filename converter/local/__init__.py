"""Runs the whole system on this machine: the parts that a deployment would bring along as servers of their own."""
