"""The series of metrics of runs, thinned out to what can be seen."""
