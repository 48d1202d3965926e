"""How a plan is carried out: NumPy on the CPU, torch on any device. None of them imports another."""
