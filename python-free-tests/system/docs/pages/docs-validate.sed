s/fraction=0.05,profile=0.1/fraction=1000,profile=1000/
