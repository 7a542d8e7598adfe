s/--epochs 2 /--epochs 1 /
s/--count 10000/--count 40/
s/--tolerance fraction=0.05/--tolerance fraction=1000/
