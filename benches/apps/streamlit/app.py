# A page that keeps its state in the process, takes a file and shows an image.
import numpy as np
import streamlit as st

name = st.text_input("name")
count = st.session_state.setdefault("count", 0)
if st.button("count"):
    st.session_state["count"] = count = count + 1
st.write(f"{name} counted to {count}")
file = st.file_uploader("file")
if file:
    st.write(f"{name} sent {len(file.getvalue())} bytes")
st.image(np.zeros((40, 40, 3), dtype=np.uint8))
