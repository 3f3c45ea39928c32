(function () {
  "use strict";
  var bar = document.querySelector(".filter");
  bar.hidden = false;
  bar.addEventListener("change", function () {
    var shown = {};
    bar.querySelectorAll("input").forEach(function (box) { shown[box.value] = box.checked; });
    document.querySelectorAll("article").forEach(function (one) { one.hidden = shown[one.dataset.outcome] === false; });
  });
  bar.addEventListener("click", function (event) {
    if (event.target.dataset.fold === undefined) { return; }
    document.querySelectorAll("article > details").forEach(function (one) { one.open = event.target.dataset.fold === "open"; });
  });
})();
